package jlora.trainer.data;

/**
 * How rows become batches and steps.
 *
 * @param batchSize per_device_train_batch_size: rows of a micro-batch, or bins with packing
 * @param accumulationSteps gradient_accumulation_steps: micro-batches of an optimizer step
 * @param packing put several rows into a bin of maxLength tokens
 * @param maxLength tokens of a bin
 * @param shuffle a new order every epoch, from the seed; else the file's order
 */
public record BatchOptions(
        int batchSize,
        int accumulationSteps,
        boolean packing,
        int maxLength,
        boolean shuffle,
        long seed) {
    public BatchOptions {
        if (batchSize < 1 || accumulationSteps < 1 || maxLength < 1) {
            throw new IllegalArgumentException(
                    "batches of "
                            + batchSize
                            + ", "
                            + accumulationSteps
                            + " a step, max_length "
                            + maxLength);
        }
    }

    /** One micro-batch a step, in the file's order: for evaluation. */
    public static BatchOptions inOrder(int batchSize, int maxLength) {
        return new BatchOptions(batchSize, 1, false, maxLength, false, 0);
    }
}
