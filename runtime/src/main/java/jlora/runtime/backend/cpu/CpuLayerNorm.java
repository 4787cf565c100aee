package jlora.runtime.backend.cpu;

import static jlora.runtime.backend.cpu.VectorMath.FLOATS;
import static jlora.runtime.backend.cpu.VectorMath.LANES;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.kernel.LayerNormKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Arrays;
import java.util.Optional;

/**
 * {@link LayerNormKernel} by rows: each row is read once, kept in the first-level cache, and
 * written once.
 */
final class CpuLayerNorm implements LayerNormKernel {
    private final CpuPool pool;

    CpuLayerNorm(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public void forward(
            Tensor out,
            Tensor stats,
            Optional<Tensor> sum,
            Tensor x,
            Optional<Tensor> residual,
            Tensor weight,
            Tensor bias,
            float eps) {
        int cols = (int) x.cols();
        int padded = VectorMath.padded(cols);
        float[] w = new float[padded];
        float[] b = new float[padded];
        Rows.load(w, 0, weight, 0);
        Rows.load(b, 0, bias, 0);
        pool.run(
                x.rows(),
                Rows.grain(cols),
                (part, from, to) -> {
                    float[] s = new float[padded];
                    float[] other = new float[padded];
                    for (long row = from; row < to; row++) {
                        Sums.residual(s, other, row, sum, x, residual);
                        float mean = Sums.sum(s, padded) / cols;
                        center(s, mean, cols);
                        float r =
                                (float)
                                        (1
                                                / Math.sqrt(
                                                        Sums.dot(s, s, padded) / (double) cols
                                                                + eps));
                        transform(s, w, b, r, padded);
                        Rows.setF32(stats, row, 0, mean);
                        Rows.setF32(stats, row, 1, r);
                        Rows.store(out, row, s, 0);
                    }
                });
    }

    /*
     * With h = (s − mean)·r and g = dOut·weight: the gradient of s is r·(g − mean(g) − h·mean(g·h)): what would change
     * the row's mean or its length is projected out.
     */
    @Override
    public void backward(
            Tensor dx,
            Optional<Grad> dWeight,
            Optional<Grad> dBias,
            Tensor dOut,
            Optional<Tensor> dSum,
            Tensor sum,
            Tensor weight,
            Tensor stats) {
        int cols = (int) sum.cols();
        int padded = VectorMath.padded(cols);
        float[] w = new float[padded];
        Rows.load(w, 0, weight, 0);
        ColumnSums weights = new ColumnSums(pool, dWeight, cols);
        ColumnSums biases = new ColumnSums(pool, dBias, cols);
        pool.run(
                sum.rows(),
                Rows.grain(cols),
                (part, from, to) -> {
                    float[] h = new float[padded];
                    float[] g = new float[padded];
                    float[] direct = new float[padded];
                    for (long row = from; row < to; row++) {
                        Rows.load(h, 0, sum, row);
                        Rows.load(g, 0, dOut, row);
                        float r = Rows.f32(stats, row, 1);
                        normalize(h, Rows.f32(stats, row, 0), r, cols);
                        weights.addProduct(part, g, h, 1f);
                        biases.add(part, g);
                        multiply(g, w, padded);
                        float meanG = Sums.sum(g, padded) / cols;
                        float meanGh = Sums.dot(g, h, padded) / cols;
                        if (dSum.isPresent()) {
                            Rows.load(direct, 0, dSum.get(), row);
                        }
                        combine(g, h, direct, r, meanG, meanGh, padded);
                        Rows.store(dx, row, g, 0);
                    }
                });
        weights.finish();
        biases.finish();
    }

    /** s −= mean; the padding stays zero. */
    private static void center(float[] s, float mean, int cols) {
        for (int i = 0; i < cols; i += LANES) {
            FloatVector.fromArray(FLOATS, s, i).sub(mean).intoArray(s, i);
        }
        Arrays.fill(s, cols, s.length, 0f);
    }

    /** s = (s − mean)·r; the padding stays zero. */
    private static void normalize(float[] s, float mean, float r, int cols) {
        for (int i = 0; i < cols; i += LANES) {
            FloatVector.fromArray(FLOATS, s, i).sub(mean).mul(r).intoArray(s, i);
        }
        Arrays.fill(s, cols, s.length, 0f);
    }

    /** s = s·r·w + b. */
    private static void transform(float[] s, float[] w, float[] b, float r, int padded) {
        for (int i = 0; i < padded; i += LANES) {
            FloatVector.fromArray(FLOATS, s, i)
                    .mul(r)
                    .fma(FloatVector.fromArray(FLOATS, w, i), FloatVector.fromArray(FLOATS, b, i))
                    .intoArray(s, i);
        }
    }

    private static void multiply(float[] g, float[] w, int padded) {
        for (int i = 0; i < padded; i += LANES) {
            FloatVector.fromArray(FLOATS, g, i)
                    .mul(FloatVector.fromArray(FLOATS, w, i))
                    .intoArray(g, i);
        }
    }

    /** g = direct + r·(g − meanG − h·meanGh). */
    private static void combine(
            float[] g, float[] h, float[] direct, float r, float meanG, float meanGh, int padded) {
        FloatVector down = FloatVector.broadcast(FLOATS, -meanGh);
        FloatVector scale = FloatVector.broadcast(FLOATS, r);
        for (int i = 0; i < padded; i += LANES) {
            FloatVector.fromArray(FLOATS, h, i)
                    .fma(down, FloatVector.fromArray(FLOATS, g, i).sub(meanG))
                    .fma(scale, FloatVector.fromArray(FLOATS, direct, i))
                    .intoArray(g, i);
        }
    }
}
