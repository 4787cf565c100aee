package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.RopeKernel;
import jlora.runtime.tensor.Tensor;

/** {@link RopeKernel} by rows: a fused row is read once and written once. */
final class CpuRope implements RopeKernel {
    private static final int LANES = VectorMath.LANES;

    private final CpuPool pool;

    CpuRope(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public void table(Tensor table, Tensor positions, Tensor inverseFrequencies, float scaling) {
        int half = (int) inverseFrequencies.cols();
        float[] frequency = new float[VectorMath.padded(half)];
        Rows.load(frequency, 0, inverseFrequencies, 0);
        pool.run(
                table.rows(),
                64,
                (part, from, to) -> {
                    for (long row = from; row < to; row++) {
                        float position = Rows.i32(positions, row);
                        for (int i = 0; i < half; i++) {
                            double angle = position * frequency[i];
                            Rows.setF32(table, row, i, (float) Math.cos(angle) * scaling);
                            Rows.setF32(table, row, half + i, (float) Math.sin(angle) * scaling);
                        }
                    }
                });
    }

    @Override
    public void forward(Tensor out, Tensor qkv, Tensor table, AttentionShape shape) {
        rotate(out, qkv, table, shape, 1f);
    }

    @Override
    public void backward(Tensor dQkv, Tensor dOut, Tensor table, AttentionShape shape) {
        rotate(dQkv, dOut, table, shape, -1f);
    }

    private void rotate(
            Tensor to, Tensor from, Tensor table, AttentionShape shape, float direction) {
        int cols = shape.fusedCols();
        int size = shape.headDim();
        int rotated = shape.heads() + shape.kvHeads();
        pool.run(
                from.rows(),
                Rows.grain(cols),
                (part, first, end) -> {
                    float[] values = new float[VectorMath.padded(cols)];
                    float[] turn = new float[VectorMath.padded(size)];
                    for (long row = first; row < end; row++) {
                        Rows.load(values, 0, from, row);
                        Rows.load(turn, 0, table, row);
                        for (int head = 0; head < rotated; head++) {
                            rotateHead(values, head * size, turn, size / 2, direction);
                        }
                        Rows.store(to, row, values, 0);
                    }
                });
    }

    /**
     * (a, b) = (a·cos − b·sin, b·cos + a·sin) for elements i and i + half; direction −1 turns back.
     */
    private static void rotateHead(
            float[] values, int at, float[] turn, int half, float direction) {
        int i = 0;
        for (; i <= half - LANES; i += LANES) {
            FloatVector a = FloatVector.fromArray(VectorMath.FLOATS, values, at + i);
            FloatVector b = FloatVector.fromArray(VectorMath.FLOATS, values, at + half + i);
            FloatVector cos = FloatVector.fromArray(VectorMath.FLOATS, turn, i);
            FloatVector sin =
                    FloatVector.fromArray(VectorMath.FLOATS, turn, half + i).mul(direction);
            a.mul(cos).sub(b.mul(sin)).intoArray(values, at + i);
            b.mul(cos).add(a.mul(sin)).intoArray(values, at + half + i);
        }
        for (; i < half; i++) {
            float a = values[at + i];
            float b = values[at + half + i];
            float sin = turn[half + i] * direction;
            values[at + i] = a * turn[i] - b * sin;
            values[at + half + i] = b * turn[i] + a * sin;
        }
    }
}
