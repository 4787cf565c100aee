package jlora.trainer.metrics;

import java.util.Optional;

/**
 * What is known of a run before its first step.
 *
 * @param doneSteps steps that a resumed run has behind it; 0 for a new one
 * @param doneTokens tokens of those steps
 * @param totalSteps steps of the whole run
 * @param epochs passes over the data of the whole run
 * @param loggingSteps steps from one logged line to the next
 * @param evalSteps steps from one evaluation to the next, if it goes by steps
 * @param batchSize sequences of one micro-batch
 */
public record RunStart(
        long doneSteps,
        long doneTokens,
        long totalSteps,
        double epochs,
        int loggingSteps,
        Optional<Integer> evalSteps,
        int batchSize) {
    /** For who counts logged tokens alone: so many of those that are done are not logged yet. */
    public RunStart withDoneTokensLess(long unlogged) {
        return new RunStart(
                doneSteps,
                doneTokens - unlogged,
                totalSteps,
                epochs,
                loggingSteps,
                evalSteps,
                batchSize);
    }

    public RunStart {
        if (doneSteps < 0
                || doneTokens < 0
                || totalSteps < doneSteps
                || loggingSteps < 1
                || batchSize < 1) {
            throw new IllegalArgumentException(
                    "a run of "
                            + totalSteps
                            + " steps with "
                            + doneSteps
                            + " done, logged every "
                            + loggingSteps);
        }
    }
}
