package jlora.trainer.config;

/** What a step does whose loss or gradient is not finite. */
public enum OnNonfinite {
    ABORT,
    SKIP
}
