package jlora.runtime.weight;

import jlora.runtime.kernel.FourBitMatrix;

/**
 * A matrix that is kept in four bits, as a whole.
 *
 * @param matrix in the device's memory or the host's
 * @param inHostMemory which of them
 */
public record HeldCodes(FourBitMatrix matrix, boolean inHostMemory) implements Held {
    @Override
    public long of() {
        return matrix.rows();
    }

    @Override
    public long cols() {
        return matrix.cols();
    }
}
