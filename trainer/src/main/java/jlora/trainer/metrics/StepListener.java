package jlora.trainer.metrics;

/**
 * Hears from the training loop, on the loop's thread and in this order: started, then steps and
 * evaluations, finished.
 */
public interface StepListener {
    void started(RunStart start);

    /**
     * The loop turns to something else than it did: to an evaluation, to saving, back to training.
     */
    default void phase(RunPhase phase) {}

    /** A step is done. The loop reports every step; {@link LoggedSteps} thins them out. */
    void step(StepMetrics metrics);

    void evaluated(EvalMetrics metrics);

    /** The run ends after its last step, or early on a failure: what is buffered goes out now. */
    void finished();
}
