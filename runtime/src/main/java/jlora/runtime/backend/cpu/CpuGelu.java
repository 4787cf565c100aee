package jlora.runtime.backend.cpu;

import static jlora.runtime.backend.cpu.VectorMath.FLOATS;
import static jlora.runtime.backend.cpu.VectorMath.LANES;
import static jlora.runtime.backend.cpu.VectorMath.ONE;
import static jlora.runtime.backend.cpu.VectorMath.constant;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

/** {@link GeluKernel} by stretches of rows; of bf16 by {@link GeluTables}. */
final class CpuGelu implements GeluKernel {
    // ½(1 + tanh y) = σ(2y), so the tanh form is x·σ(2√(2/π)·(x + 0.044715x³)).
    private static final FloatVector LINEAR = constant(1.59576912f);
    private static final FloatVector CUBIC = constant(0.07135481627f);
    private static final FloatVector SLOPE = constant(3 * 0.07135481627f);
    private static final FloatVector MINUS_HALF = constant(-0.5f);
    private static final FloatVector INVERSE_SQRT_2_PI = constant(0.39894228f);
    // Beyond this both forms are x or 0 and their slopes 1 or 0 in f32; it keeps powers of x
    // finite.
    private static final FloatVector LOW = constant(-30f);
    private static final FloatVector HIGH = constant(30f);

    private final CpuPool pool;

    CpuGelu(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public void forward(Tensor out, Tensor x, Form form) {
        if (x.dtype() == DType.BF16 && out.dtype() == DType.BF16) {
            short[] values = GeluTables.of(form).values();
            Chunks.run(
                    pool,
                    x.rows(),
                    x.cols(),
                    0,
                    (scratch, row, col, count) ->
                            GeluTables.look(
                                    out.segment(),
                                    out.byteOffset(row) + 2 * col,
                                    values,
                                    x.segment(),
                                    x.byteOffset(row) + 2 * col,
                                    count));
            return;
        }
        Chunks.run(
                pool,
                x.rows(),
                x.cols(),
                2,
                (scratch, row, col, count) -> {
                    float[] a = scratch[0];
                    float[] gate = scratch[1];
                    Rows.load(a, 0, x, row, col, count);
                    values(a, gate, count, form);
                    Rows.store(out, row, col, a, 0, count);
                });
    }

    @Override
    public void backward(Tensor dx, Tensor dOut, Tensor x, Form form) {
        if (x.dtype() == DType.BF16) {
            float[] slopes = GeluTables.of(form).slopes();
            Chunks.run(
                    pool,
                    x.rows(),
                    x.cols(),
                    2,
                    (scratch, row, col, count) -> {
                        float[] slope = scratch[0];
                        float[] d = scratch[1];
                        GeluTables.look(
                                slope, slopes, x.segment(), x.byteOffset(row) + 2 * col, count);
                        Rows.load(d, 0, dOut, row, col, count);
                        multiply(d, slope, count);
                        Rows.store(dx, row, col, d, 0, count);
                    });
            return;
        }
        Chunks.run(
                pool,
                x.rows(),
                x.cols(),
                4,
                (scratch, row, col, count) -> {
                    float[] a = scratch[0];
                    float[] gate = scratch[1];
                    float[] d = scratch[2];
                    Rows.load(a, 0, x, row, col, count);
                    Rows.load(d, 0, dOut, row, col, count);
                    slopes(d, a, gate, scratch[3], count, form);
                    Rows.store(dx, row, col, d, 0, count);
                });
    }

    /** a = GELU(a), whole vectors; {@code gate} is scratch. */
    static void values(float[] a, float[] gate, int count, Form form) {
        switch (form) {
            case ERF -> VectorMath.normalCdf(gate, a, count);
            case TANH -> gate(gate, a, count);
        }
        multiply(a, gate, count);
    }

    /** d = d·GELU′(a), whole vectors; a is bounded, the others are scratch. */
    static void slopes(float[] d, float[] a, float[] gate, float[] bell, int count, Form form) {
        bound(a, count);
        switch (form) {
            case ERF -> {
                VectorMath.normalCdf(gate, a, count);
                density(bell, a, count);
                slopeErf(d, a, gate, bell, count);
            }
            case TANH -> {
                gate(gate, a, count);
                slopeTanh(d, a, gate, count);
            }
        }
    }

    private static void multiply(float[] a, float[] b, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector.fromArray(FLOATS, a, i)
                    .mul(FloatVector.fromArray(FLOATS, b, i))
                    .intoArray(a, i);
        }
    }

    private static void bound(float[] a, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector.fromArray(FLOATS, a, i).max(LOW).min(HIGH).intoArray(a, i);
        }
    }

    /** The factor of x in the tanh form. */
    private static void gate(float[] gate, float[] x, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector bounded = FloatVector.fromArray(FLOATS, x, i).max(LOW).min(HIGH);
            bounded.mul(bounded.mul(bounded).fma(CUBIC, LINEAR)).intoArray(gate, i);
        }
        VectorMath.sigmoid(gate, count);
    }

    /** With s = σ(v): d = d·(s + x·s·(1 − s)·dv/dx). */
    private static void slopeTanh(float[] d, float[] a, float[] gate, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector x = FloatVector.fromArray(FLOATS, a, i);
            FloatVector s = FloatVector.fromArray(FLOATS, gate, i);
            FloatVector dv = x.mul(x).fma(SLOPE, LINEAR);
            FloatVector slope = x.mul(s).mul(ONE.sub(s)).fma(dv, s);
            FloatVector.fromArray(FLOATS, d, i).mul(slope).intoArray(d, i);
        }
    }

    /** φ(x), the normal density. */
    private static void density(float[] to, float[] a, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector x = FloatVector.fromArray(FLOATS, a, i);
            x.mul(x).mul(MINUS_HALF).intoArray(to, i);
        }
        VectorMath.exp(to, count);
    }

    /** d = d·(Φ(x) + x·φ(x)). */
    private static void slopeErf(float[] d, float[] a, float[] cdf, float[] bell, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector density = FloatVector.fromArray(FLOATS, bell, i).mul(INVERSE_SQRT_2_PI);
            FloatVector.fromArray(FLOATS, d, i)
                    .mul(
                            FloatVector.fromArray(FLOATS, a, i)
                                    .fma(density, FloatVector.fromArray(FLOATS, cdf, i)))
                    .intoArray(d, i);
        }
    }
}
