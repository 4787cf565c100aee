package jlora.trainer.config;

/**
 * Who computes matrix products on the CPU; {@code AUTO} is oneDNN where it has a build for the
 * platform.
 */
public enum ProductEngine {
    AUTO,
    ONEDNN,
    VECTOR
}
