package jlora.trainer.config;

/**
 * How A starts (B is zero): Kaiming-uniform as PEFT does by default ({@code true}), or Gaussian
 * with deviation 1/r.
 */
public enum LoraInit {
    TRUE,
    GAUSSIAN
}
