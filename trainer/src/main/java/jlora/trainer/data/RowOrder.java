package jlora.trainer.data;

import jlora.runtime.kernel.Philox;

import java.util.Arrays;

/**
 * Seeded permutations without state, so that a resumed run finds the order again from seed and
 * epoch alone.
 *
 * <p>Definition: item i of n has the 64-bit key w1·2³² + w0, where w are the Philox4x32-10 words
 * under key (seed low, seed high) and counter (i, 0, epoch, purpose); the lowest bits, as many as n
 * − 1 has, are replaced by i. The permutation lists the items by ascending unsigned key. Equal
 * upper bits fall back to the item's number: at 2²⁴ items that happens to one pair in 2⁴⁰.
 */
final class RowOrder {
    private static final int SHUFFLE = 0x73687566;
    private static final int SPLIT = 0x73706C74;

    private RowOrder() {}

    /** The order of n items in one epoch. */
    static int[] forEpoch(int n, long seed, int epoch) {
        return permutation(n, seed, epoch, SHUFFLE);
    }

    /** The order by which a held-out split picks rows. */
    static int[] forSplit(int n, long seed) {
        return permutation(n, seed, 0, SPLIT);
    }

    private static int[] permutation(int n, long seed, int epoch, int purpose) {
        long indexMask = n < 2 ? 0 : (Integer.highestOneBit(n - 1) << 1) - 1L & 0xFFFFFFFFL;
        long[] keys = new long[n];
        int[] words = new int[Philox.WORDS];
        for (int i = 0; i < n; i++) {
            Philox.words(words, 0, (int) seed, (int) (seed >>> 32), i, 0, epoch, purpose);
            long random = ((long) words[1] << 32) | (words[0] & 0xFFFFFFFFL);
            // Flipping the sign bit makes the signed sort an unsigned one.
            keys[i] = ((random & ~indexMask) | i) ^ Long.MIN_VALUE;
        }
        Arrays.parallelSort(keys);
        int[] order = new int[n];
        for (int i = 0; i < n; i++) {
            order[i] = (int) (keys[i] & indexMask);
        }
        return order;
    }
}
