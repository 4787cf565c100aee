package jlora.trainer.data;

import java.util.List;

/**
 * The micro-batches of one optimizer step. All are built before the step starts, because the mean
 * loss divides by the trained tokens of the whole step.
 *
 * @param position where the step begins
 * @param next where the step after it begins; a run resumed there sees the same batches as one that
 *     went on
 * @param trainedTokens over all micro-batches; 0 when none of their rows has a label, and then
 *     there is nothing to learn
 */
public record StepBatches(
        DataPosition position,
        DataPosition next,
        List<Batch> microBatches,
        long tokens,
        long trainedTokens) {
    public StepBatches {
        microBatches = List.copyOf(microBatches);
    }

    /** The batches of a step, with their tokens counted. */
    public static StepBatches of(
            DataPosition position, DataPosition next, List<Batch> microBatches) {
        long tokens = 0;
        long trained = 0;
        for (Batch batch : microBatches) {
            tokens += batch.tokens();
            trained += batch.trainedTokens();
        }
        return new StepBatches(position, next, microBatches, tokens, trained);
    }
}
