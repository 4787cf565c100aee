package jlora.runtime.backend.cpu;

import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * Sums over the lanes of a vector in one fixed order. {@code reduceLanes} leaves the order open,
 * and interpreter and compiler do differ: the same program would give other bits from run to run.
 */
final class LaneSums {
    private static final VectorShuffle<Float>[] FLOAT_HALVES =
            halves(FloatVector.SPECIES_PREFERRED);
    private static final VectorShuffle<Double>[] DOUBLE_HALVES =
            halves(DoubleVector.SPECIES_PREFERRED);

    private LaneSums() {}

    /** Adds the upper half of the lanes to the lower one until one is left. */
    static float sum(FloatVector vector) {
        FloatVector sums = vector;
        for (VectorShuffle<Float> half : FLOAT_HALVES) {
            sums = sums.add(sums.rearrange(half));
        }
        return sums.lane(0);
    }

    /** Adds the upper half of the lanes to the lower one until one is left. */
    static double sum(DoubleVector vector) {
        DoubleVector sums = vector;
        for (VectorShuffle<Double> half : DOUBLE_HALVES) {
            sums = sums.add(sums.rearrange(half));
        }
        return sums.lane(0);
    }

    /** Shuffles that exchange halves, quarters, … single lanes. */
    private static <E> VectorShuffle<E>[] halves(VectorSpecies<E> species) {
        @SuppressWarnings({"unchecked", "rawtypes"})
        VectorShuffle<E>[] halves =
                new VectorShuffle[Integer.numberOfTrailingZeros(species.length())];
        for (int i = 0; i < halves.length; i++) {
            int distance = species.length() >> (i + 1);
            halves[i] = VectorShuffle.fromOp(species, lane -> lane ^ distance);
        }
        return halves;
    }
}
