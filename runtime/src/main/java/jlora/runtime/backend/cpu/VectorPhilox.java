package jlora.runtime.backend.cpu;

import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * {@link jlora.runtime.kernel.Philox} for many consecutive counters at once. Each lane of a vector
 * of longs computes one counter; 32-bit words live in the lanes' lower halves.
 */
final class VectorPhilox {
    private static final VectorSpecies<Long> LONGS = LongVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;
    private static final VectorShuffle<Long> FIRST_HALVES = VectorShuffle.makeZip(LONGS, 0);
    private static final VectorShuffle<Long> LAST_HALVES = VectorShuffle.makeZip(LONGS, 1);
    private static final LongVector STEPS = LongVector.zero(LONGS).addIndex(1);

    private static final long LOW = 0xFFFFFFFFL;
    private static final long MULTIPLIER_0 = 0xD2511F53L;
    private static final long MULTIPLIER_1 = 0xCD9E8D57L;
    private static final int KEY_STEP_0 = 0x9E3779B9;
    private static final int KEY_STEP_1 = 0xBB67AE85;

    /** Words per vector of counters: what {@link #words} rounds its count up to. */
    static final int GROUP = 4 * LONGS.length();

    private final int key0;
    private final int key1;
    private final int counter2;
    private final int counter3;

    /** The last two words of the counter are fixed; the first two count blocks. */
    VectorPhilox(int key0, int key1, int counter2, int counter3) {
        this.key0 = key0;
        this.key1 = key1;
        this.counter2 = counter2;
        this.counter3 = counter3;
    }

    /**
     * words[0 .. count] = the words of counters {@code block}, block + 1, …; writes whole {@link
     * #GROUP}s.
     */
    void words(int[] words, long block, int count) {
        for (int i = 0; i < count; i += GROUP) {
            group(words, i, block + i / 4);
        }
    }

    private void group(int[] words, int at, long block) {
        LongVector counter = STEPS.add(block);
        LongVector c0 = counter.and(LOW);
        LongVector c1 = counter.lanewise(VectorOperators.LSHR, 32);
        LongVector c2 = LongVector.broadcast(LONGS, counter2 & LOW);
        LongVector c3 = LongVector.broadcast(LONGS, counter3 & LOW);
        int k0 = key0;
        int k1 = key1;
        for (int round = 0; round < 10; round++) {
            LongVector product0 = c0.mul(MULTIPLIER_0);
            LongVector product1 = c2.mul(MULTIPLIER_1);
            LongVector next0 =
                    product1.lanewise(VectorOperators.LSHR, 32)
                            .lanewise(VectorOperators.XOR, c1)
                            .lanewise(VectorOperators.XOR, k0 & LOW);
            LongVector next2 =
                    product0.lanewise(VectorOperators.LSHR, 32)
                            .lanewise(VectorOperators.XOR, c3)
                            .lanewise(VectorOperators.XOR, k1 & LOW);
            c1 = product1.and(LOW);
            c3 = product0.and(LOW);
            c0 = next0;
            c2 = next2;
            k0 += KEY_STEP_0;
            k1 += KEY_STEP_1;
        }
        // A lane's words 0|1 and 2|3 as pairs of ints, then the pairs of each counter side by side.
        LongVector first = c0.or(c1.lanewise(VectorOperators.LSHL, 32));
        LongVector last = c2.or(c3.lanewise(VectorOperators.LSHL, 32));
        first.rearrange(FIRST_HALVES, last).reinterpretAsInts().intoArray(words, at);
        first.rearrange(LAST_HALVES, last).reinterpretAsInts().intoArray(words, at + INTS.length());
    }
}
