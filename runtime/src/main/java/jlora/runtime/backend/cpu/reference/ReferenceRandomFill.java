package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.Philox;
import jlora.runtime.kernel.RandomFillKernel;
import jlora.runtime.kernel.RandomNumbers;
import jlora.runtime.tensor.Tensor;

/** {@link RandomFillKernel} by definition. */
public final class ReferenceRandomFill implements RandomFillKernel {
    @Override
    public void normal(Tensor to, long first, long seed, int stream, double standardDeviation) {
        int[] words = new int[Philox.WORDS];
        double[] normals = new double[Philox.WORDS];
        for (long r = 0; r < to.rows(); r++) {
            for (long c = 0; c < to.cols(); c++) {
                long e = first + r * to.cols() + c;
                RandomNumbers.normals(normals, words, seed, stream, e / Philox.WORDS);
                double number = normals[(int) (e % Philox.WORDS)];
                Elements.set(to, r, c, (float) (number * standardDeviation));
            }
        }
    }

    @Override
    public void constant(Tensor to, float value) {
        for (long r = 0; r < to.rows(); r++) {
            for (long c = 0; c < to.cols(); c++) {
                Elements.set(to, r, c, value);
            }
        }
    }
}
