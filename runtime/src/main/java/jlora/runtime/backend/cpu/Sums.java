package jlora.runtime.backend.cpu;

import static jlora.runtime.backend.cpu.VectorMath.FLOATS;
import static jlora.runtime.backend.cpu.VectorMath.LANES;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * What the two norms share: the residual sum of a row and sums over padded rows, in four vectors of
 * partial sums.
 */
final class Sums {
    private Sums() {}

    /** s = row of x (+ residual), which is also stored where the caller wants it. */
    static void residual(
            float[] s,
            float[] scratch,
            long row,
            Optional<Tensor> sum,
            Tensor x,
            Optional<Tensor> residual) {
        Rows.load(s, 0, x, row);
        if (residual.isPresent()) {
            Rows.load(scratch, 0, residual.get(), row);
            Rows.add(s, 0, scratch, 0, s.length);
            Tensor to = sum.orElseThrow();
            Rows.store(to, row, s, 0);
            // The backward pass sees the stored value: normalise what it will see.
            Rows.load(s, 0, to, row);
        }
    }

    /** Σ a·b over the whole length, a multiple of the vector length. */
    static float dot(float[] a, float[] b, int length) {
        FloatVector zero = FloatVector.zero(FLOATS);
        FloatVector s0 = zero;
        FloatVector s1 = zero;
        FloatVector s2 = zero;
        FloatVector s3 = zero;
        int i = 0;
        for (; i <= length - 4 * LANES; i += 4 * LANES) {
            s0 = FloatVector.fromArray(FLOATS, a, i).fma(FloatVector.fromArray(FLOATS, b, i), s0);
            s1 =
                    FloatVector.fromArray(FLOATS, a, i + LANES)
                            .fma(FloatVector.fromArray(FLOATS, b, i + LANES), s1);
            s2 =
                    FloatVector.fromArray(FLOATS, a, i + 2 * LANES)
                            .fma(FloatVector.fromArray(FLOATS, b, i + 2 * LANES), s2);
            s3 =
                    FloatVector.fromArray(FLOATS, a, i + 3 * LANES)
                            .fma(FloatVector.fromArray(FLOATS, b, i + 3 * LANES), s3);
        }
        for (; i < length; i += LANES) {
            s0 = FloatVector.fromArray(FLOATS, a, i).fma(FloatVector.fromArray(FLOATS, b, i), s0);
        }
        return LaneSums.sum(s0.add(s1).add(s2.add(s3)));
    }

    /** Σ a over the whole length. */
    static float sum(float[] a, int length) {
        FloatVector s0 = FloatVector.zero(FLOATS);
        FloatVector s1 = s0;
        int i = 0;
        for (; i <= length - 2 * LANES; i += 2 * LANES) {
            s0 = s0.add(FloatVector.fromArray(FLOATS, a, i));
            s1 = s1.add(FloatVector.fromArray(FLOATS, a, i + LANES));
        }
        for (; i < length; i += LANES) {
            s0 = s0.add(FloatVector.fromArray(FLOATS, a, i));
        }
        return LaneSums.sum(s0.add(s1));
    }
}
