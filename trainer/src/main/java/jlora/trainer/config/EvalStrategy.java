package jlora.trainer.config;

/** When the run evaluates: never, every {@code eval_steps} steps, or at the end of each epoch. */
public enum EvalStrategy {
    NO,
    STEPS,
    EPOCH
}
