package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jlora.runtime.kernel.DropoutKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

/** {@link DropoutKernel} by stretches of rows; the mask is computed where it is used. */
final class CpuDropout implements DropoutKernel {
    private final CpuPool pool;

    CpuDropout(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public void forward(Tensor out, Tensor x, float p, Tensor rng, int stream) {
        apply(Grad.overwrite(out), x, p, rng, stream);
    }

    @Override
    public void backward(Grad dx, Tensor dOut, float p, Tensor rng, int stream) {
        apply(dx, dOut, p, rng, stream);
    }

    private void apply(Grad to, Tensor from, float p, Tensor rng, int stream) {
        if (!(p >= 0 && p < 1)) {
            throw new IllegalArgumentException("dropout probability " + p);
        }
        Philox philox = new Philox(Rows.i32(rng, 0), Rows.i32(rng, 1), stream, Rows.i32(rng, 2));
        int threshold = (int) (long) (p * 0x1p32);
        float scale = 1f / (1f - p);
        long cols = from.cols();
        Chunks.run(pool, from.rows(), cols, 2, (scratch, row, col, count) -> {
            // Fresh words per stretch: a stretch may start inside a counter's four.
            int[] words = new int[Chunks.LENGTH + 2 * Philox.GROUP];
            long element = row * cols + col;
            int skip = (int) (element & 3);
            philox.words(words, element >>> 2, skip + count);
            Rows.load(scratch[0], 0, from, row, col, count);
            mask(scratch[0], words, skip, threshold, scale, count);
            Rows.store(to, row, col, scratch[0], 0, count, scratch[1]);
        });
    }

    private static void mask(float[] values, int[] words, int skip, int threshold, float scale, int count) {
        for (int i = 0; i < count; i += VectorMath.LANES) {
            VectorMask<Integer> keep =
                    IntVector.fromArray(VectorMath.INTS, words, skip + i)
                            .compare(VectorOperators.UGE, threshold);
            FloatVector.zero(VectorMath.FLOATS)
                    .blend(
                            FloatVector.fromArray(VectorMath.FLOATS, values, i).mul(scale),
                            keep.cast(VectorMath.FLOATS))
                    .intoArray(values, i);
        }
    }
}
