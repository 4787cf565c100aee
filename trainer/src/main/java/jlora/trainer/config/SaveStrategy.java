package jlora.trainer.config;

/**
 * When the run writes a checkpoint: never, every {@code save_steps} steps, at the end of each
 * epoch, or whenever an evaluation is the best so far.
 */
public enum SaveStrategy {
    NO,
    STEPS,
    EPOCH,
    BEST
}
