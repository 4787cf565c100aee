package jlora.runtime.kernel;

/**
 * The counter-based random generator Philox4x32-10 (Salmon et al., "Parallel random numbers: as
 * easy as 1, 2, 3", SC11). A key and a counter give four words without any state, so that every
 * backend can recompute any of them at any time.
 */
public final class Philox {
    /** Words that one counter yields. */
    public static final int WORDS = 4;

    private static final int ROUNDS = 10;
    private static final long MULTIPLIER_0 = 0xD2511F53L;
    private static final long MULTIPLIER_1 = 0xCD9E8D57L;
    private static final int KEY_STEP_0 = 0x9E3779B9;
    private static final int KEY_STEP_1 = 0xBB67AE85;

    private Philox() {}

    /**
     * Fills {@code out[at .. at + 4]} with the words of counter (c0, c1, c2, c3) under key (k0,
     * k1).
     */
    public static void words(int[] out, int at, int k0, int k1, int c0, int c1, int c2, int c3) {
        for (int round = 0; round < ROUNDS; round++) {
            long product0 = MULTIPLIER_0 * (c0 & 0xFFFFFFFFL);
            long product1 = MULTIPLIER_1 * (c2 & 0xFFFFFFFFL);
            c0 = (int) (product1 >>> 32) ^ c1 ^ k0;
            c1 = (int) product1;
            c2 = (int) (product0 >>> 32) ^ c3 ^ k1;
            c3 = (int) product0;
            k0 += KEY_STEP_0;
            k1 += KEY_STEP_1;
        }
        out[at] = c0;
        out[at + 1] = c1;
        out[at + 2] = c2;
        out[at + 3] = c3;
    }

    /**
     * The words of block {@code block} (elements 4·block to 4·block + 3) of a dropout: those of key
     * (low, high word of the seed) and counter (low, high word of the block, stream, number of the
     * micro-batch). Word e mod 4 is that of element e. So backward and recomputed passes see the
     * same mask without storing it, on every backend and for every thread count.
     */
    public static void dropoutWords(
            int[] out, int at, int seedLow, int seedHigh, long block, int stream, int microBatch) {
        words(out, at, seedLow, seedHigh, (int) block, (int) (block >>> 32), stream, microBatch);
    }

    /** ⌊p·2³²⌋: a word keeps its element when, as an unsigned number, it is not below this. */
    public static long dropThreshold(float p) {
        if (!(p >= 0 && p <= 1)) {
            throw new IllegalArgumentException("dropout probability " + p + " is not in [0, 1]");
        }
        return (long) (p * 0x1p32);
    }

    /** True when a word keeps its element at this {@link #dropThreshold}. */
    public static boolean keeps(int word, long threshold) {
        return (word & 0xFFFFFFFFL) >= threshold;
    }
}
