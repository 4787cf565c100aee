package jlora.runtime.weight;

import jlora.runtime.kernel.Fp8Matrix;

/** A matrix that is kept in FP8, as a whole. */
public record HeldFp8(Fp8Matrix matrix) implements Held {
    @Override
    public long of() {
        return matrix.rows();
    }

    @Override
    public long cols() {
        return matrix.cols();
    }
}
