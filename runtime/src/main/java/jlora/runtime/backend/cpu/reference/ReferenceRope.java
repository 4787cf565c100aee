package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.RopeKernel;
import jlora.runtime.tensor.Tensor;

/** {@link RopeKernel} by definition. */
public final class ReferenceRope implements RopeKernel {
    @Override
    public void table(Tensor table, Tensor positions, Tensor inverseFrequencies, float scaling) {
        long half = inverseFrequencies.cols();
        for (long t = 0; t < table.rows(); t++) {
            for (long i = 0; i < half; i++) {
                float angle =
                        (float) Elements.getInt(positions, 0, t)
                                * (float) Elements.get(inverseFrequencies, 0, i);
                Elements.set(table, t, i, Math.cos(angle) * scaling);
                Elements.set(table, t, half + i, Math.sin(angle) * scaling);
            }
        }
    }

    @Override
    public void forward(Tensor out, Tensor qkv, Tensor table, AttentionShape shape) {
        rotate(out, qkv, table, shape, 1);
    }

    @Override
    public void backward(Tensor dQkv, Tensor dOut, Tensor table, AttentionShape shape) {
        rotate(dQkv, dOut, table, shape, -1);
    }

    private static void rotate(
            Tensor to, Tensor from, Tensor table, AttentionShape shape, int direction) {
        int half = shape.headDim() / 2;
        int rotated = shape.queryCols() + shape.keyCols();
        for (long t = 0; t < to.rows(); t++) {
            for (int head = 0; head < rotated; head += shape.headDim()) {
                for (int i = 0; i < half; i++) {
                    double cos = Elements.get(table, t, i);
                    double sin = Elements.get(table, t, half + i) * direction;
                    double a = Elements.get(from, t, head + i);
                    double b = Elements.get(from, t, head + half + i);
                    Elements.set(to, t, head + i, a * cos - b * sin);
                    Elements.set(to, t, head + half + i, b * cos + a * sin);
                }
            }
            for (int c = rotated; c < shape.fusedCols(); c++) {
                Elements.set(to, t, c, Elements.get(from, t, c));
            }
        }
    }
}
