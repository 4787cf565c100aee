package jlora.runtime.backend.cpu;

import jlora.runtime.kernel.Philox;
import jlora.runtime.kernel.RandomFillKernel;
import jlora.runtime.kernel.RandomNumbers;
import jlora.runtime.tensor.Tensor;

import java.util.Arrays;

/** {@link RandomFillKernel} by stretches of rows. */
final class CpuRandomFill implements RandomFillKernel {
    private final CpuPool pool;

    CpuRandomFill(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public void normal(Tensor to, long first, long seed, int stream, double standardDeviation) {
        Chunks.run(
                pool,
                to.rows(),
                to.cols(),
                1,
                (scratch, row, col, count) -> {
                    int[] words = new int[Philox.WORDS];
                    double[] normals = new double[Philox.WORDS];
                    long start = first + row * to.cols() + col;
                    for (int i = 0; i < count; i++) {
                        int place = (int) ((start + i) % Philox.WORDS);
                        // A stretch may start inside a counter's four numbers.
                        if (i == 0 || place == 0) {
                            long counter = (start + i) / Philox.WORDS;
                            RandomNumbers.normals(normals, words, seed, stream, counter);
                        }
                        scratch[0][i] = (float) (normals[place] * standardDeviation);
                    }
                    Rows.store(to, row, col, scratch[0], 0, count);
                });
    }

    @Override
    public void constant(Tensor to, float value) {
        Chunks.run(
                pool,
                to.rows(),
                to.cols(),
                1,
                (scratch, row, col, count) -> {
                    Arrays.fill(scratch[0], value);
                    Rows.store(to, row, col, scratch[0], 0, count);
                });
    }
}
