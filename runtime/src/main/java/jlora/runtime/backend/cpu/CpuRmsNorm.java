package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.kernel.RmsNormKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * {@link RmsNormKernel} by rows: each row is read once, kept in the first-level cache, and written
 * once.
 */
final class CpuRmsNorm implements RmsNormKernel {
    private static final int LANES = VectorMath.LANES;

    private final CpuPool pool;

    CpuRmsNorm(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public void forward(
            Tensor out,
            Tensor rstd,
            Optional<Tensor> sum,
            Tensor x,
            Optional<Tensor> residual,
            Tensor weight,
            float eps) {
        int cols = (int) x.cols();
        int padded = VectorMath.padded(cols);
        float[] w = new float[padded];
        Rows.load(w, 0, weight, 0);
        pool.run(
                x.rows(),
                Rows.grain(cols),
                (part, from, to) -> {
                    float[] s = new float[padded];
                    float[] other = new float[padded];
                    for (long row = from; row < to; row++) {
                        Sums.residual(s, other, row, sum, x, residual);
                        float r =
                                (float)
                                        (1
                                                / Math.sqrt(
                                                        Sums.dot(s, s, padded) / (double) cols
                                                                + eps));
                        scale(s, w, r, padded);
                        Rows.setF32(rstd, row, 0, r);
                        Rows.store(out, row, s, 0);
                    }
                });
    }

    /*
     * With s = x + residual, r = rstd, g = dOut·weight: out_j = s_j·r·w_j and dr/ds_i = −r³·s_i/C, so
     * ds_i = r·g_i − s_i·r³/C·Σ g_j·s_j.
     */
    @Override
    public void backward(
            Tensor dx,
            Optional<Grad> dWeight,
            Tensor dOut,
            Optional<Tensor> dSum,
            Tensor sum,
            Tensor weight,
            Tensor rstd) {
        int cols = (int) sum.cols();
        int padded = VectorMath.padded(cols);
        float[] w = new float[padded];
        Rows.load(w, 0, weight, 0);
        ColumnSums weights = new ColumnSums(pool, dWeight, cols);
        pool.run(
                sum.rows(),
                Rows.grain(cols),
                (part, from, to) -> {
                    float[] s = new float[padded];
                    float[] g = new float[padded];
                    float[] direct = new float[padded];
                    for (long row = from; row < to; row++) {
                        Rows.load(s, 0, sum, row);
                        Rows.load(g, 0, dOut, row);
                        float r = Rows.f32(rstd, row, 0);
                        weights.addProduct(part, g, s, r);
                        multiply(g, w, padded);
                        double slope = (double) r * r * r / cols * Sums.dot(g, s, padded);
                        if (dSum.isPresent()) {
                            Rows.load(direct, 0, dSum.get(), row);
                        }
                        combine(g, s, direct, r, (float) slope, padded);
                        Rows.store(dx, row, g, 0);
                    }
                });
        weights.finish();
    }

    private static void scale(float[] s, float[] w, float r, int padded) {
        for (int i = 0; i < padded; i += LANES) {
            FloatVector.fromArray(VectorMath.FLOATS, s, i)
                    .mul(r)
                    .mul(FloatVector.fromArray(VectorMath.FLOATS, w, i))
                    .intoArray(s, i);
        }
    }

    private static void multiply(float[] g, float[] w, int padded) {
        for (int i = 0; i < padded; i += LANES) {
            FloatVector.fromArray(VectorMath.FLOATS, g, i)
                    .mul(FloatVector.fromArray(VectorMath.FLOATS, w, i))
                    .intoArray(g, i);
        }
    }

    /** g = direct + r·g − slope·s. */
    private static void combine(
            float[] g, float[] s, float[] direct, float r, float slope, int padded) {
        FloatVector down = FloatVector.broadcast(VectorMath.FLOATS, -slope);
        for (int i = 0; i < padded; i += LANES) {
            FloatVector own = FloatVector.fromArray(VectorMath.FLOATS, g, i).mul(r);
            FloatVector.fromArray(VectorMath.FLOATS, s, i)
                    .fma(down, own)
                    .add(FloatVector.fromArray(VectorMath.FLOATS, direct, i))
                    .intoArray(g, i);
        }
    }
}
