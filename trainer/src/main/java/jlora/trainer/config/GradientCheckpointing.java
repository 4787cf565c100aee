package jlora.trainer.config;

/** How much of the forward pass is computed again in the backward pass to save memory. */
public enum GradientCheckpointing {
    NONE,
    AUTO,
    FULL
}
