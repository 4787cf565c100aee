package jlora.trainer.data;

/**
 * Rounds a batch's tokens up to one of few capacities, so that few plans exist. Eight capacities
 * for each doubling: a batch carries at most 12.5% padding rows, about 6% on average, and none
 * beyond {@code maxTokens}.
 *
 * @param maxTokens the largest batch that will come; its own capacity
 */
public record RowBuckets(int maxTokens) {
    private static final int SMALLEST_STEP = 8;

    public RowBuckets {
        if (maxTokens < 1) {
            throw new IllegalArgumentException("batches of " + maxTokens + " tokens");
        }
    }

    /** The capacity for a batch of so many tokens. */
    public int capacity(int tokens) {
        if (tokens < 0 || tokens > maxTokens) {
            throw new IllegalArgumentException(
                    "a batch of " + tokens + " tokens where " + maxTokens + " is the most");
        }
        int step = Math.max(SMALLEST_STEP, Integer.highestOneBit(Math.max(1, tokens - 1)) / 8);
        long rounded = (long) Math.ceilDiv(Math.max(1, tokens), step) * step;
        return (int) Math.min(rounded, maxTokens);
    }
}
