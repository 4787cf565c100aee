package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

import jlora.runtime.kernel.LowRankBorder.Block;
import jlora.runtime.kernel.Philox;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Arrays;

/** Masks of the low-rank path over stretches of rows, computed where they are used. */
final class DropoutRows {
    private final CpuPool pool;

    DropoutRows(CpuPool pool) {
        this.pool = pool;
    }

    /**
     * to (+)= mask∘from/(1−p), with the mask of a block.
     *
     * @param first the row of the whole tensor that {@code from} begins with
     */
    void apply(Grad to, Tensor from, long first, Block block, Tensor rng) {
        VectorPhilox philox =
                new VectorPhilox(
                        Rows.i32(rng, 0), Rows.i32(rng, 1), block.stream(), Rows.i32(rng, 2));
        long threshold = Philox.dropThreshold(block.dropout());
        float scale = 1f / (1f - block.dropout());
        long cols = from.cols();
        Chunks.run(
                pool,
                from.rows(),
                cols,
                2,
                (scratch, row, col, count) -> {
                    // A stretch may start inside a counter's four words.
                    int[] words = new int[Chunks.LENGTH + 2 * VectorPhilox.GROUP];
                    long element = (first + row) * cols + col;
                    int skip = (int) (element & 3);
                    philox.words(words, element >>> 2, skip + count);
                    Rows.load(scratch[0], 0, from, row, col, count);
                    mask(scratch[0], words, skip, threshold, scale, count);
                    Rows.store(to, row, col, scratch[0], 0, count, scratch[1]);
                });
    }

    private static void mask(
            float[] values, int[] words, int skip, long threshold, float scale, int count) {
        if (threshold > 0xFFFFFFFFL) {
            Arrays.fill(values, 0f);
            return;
        }
        for (int i = 0; i < count; i += VectorMath.LANES) {
            VectorMask<Integer> keep =
                    IntVector.fromArray(VectorMath.INTS, words, skip + i)
                            .compare(VectorOperators.UGE, (int) threshold);
            FloatVector.zero(VectorMath.FLOATS)
                    .blend(
                            FloatVector.fromArray(VectorMath.FLOATS, values, i).mul(scale),
                            keep.cast(VectorMath.FLOATS))
                    .intoArray(values, i);
        }
    }
}
