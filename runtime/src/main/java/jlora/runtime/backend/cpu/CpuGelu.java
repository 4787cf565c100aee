package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.tensor.Tensor;

/** {@link GeluKernel} by stretches of rows. */
final class CpuGelu implements GeluKernel {
    private static final float INVERSE_SQRT_2 = 0.70710678f;
    private static final float INVERSE_SQRT_2_PI = 0.39894228f;
    // ½(1 + tanh y) = σ(2y), so the tanh form is x·σ(2√(2/π)·(x + 0.044715x³)).
    private static final float LINEAR = 1.59576912f;
    private static final float CUBIC = 0.07135481627f;
    // Beyond this both forms are x or 0 and their slopes 1 or 0 in f32; it keeps powers of x
    // finite.
    private static final float FLAT = 30f;

    private final CpuPool pool;

    CpuGelu(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public void forward(Tensor out, Tensor x, Form form) {
        Chunks.run(
                pool,
                x.rows(),
                x.cols(),
                1,
                (scratch, row, col, count) -> {
                    float[] a = scratch[0];
                    Rows.load(a, 0, x, row, col, count);
                    switch (form) {
                        case ERF -> forwardErf(a, count);
                        case TANH -> forwardTanh(a, count);
                    }
                    Rows.store(out, row, col, a, 0, count);
                });
    }

    @Override
    public void backward(Tensor dx, Tensor dOut, Tensor x, Form form) {
        Chunks.run(
                pool,
                x.rows(),
                x.cols(),
                2,
                (scratch, row, col, count) -> {
                    float[] a = scratch[0];
                    float[] d = scratch[1];
                    Rows.load(a, 0, x, row, col, count);
                    Rows.load(d, 0, dOut, row, col, count);
                    switch (form) {
                        case ERF -> backwardErf(a, d, count);
                        case TANH -> backwardTanh(a, d, count);
                    }
                    Rows.store(dx, row, col, d, 0, count);
                });
    }

    private static void forwardErf(float[] a, int count) {
        for (int i = 0; i < count; i += VectorMath.LANES) {
            FloatVector x = at(a, i);
            x.mul(normalCdf(x)).intoArray(a, i);
        }
    }

    private static void forwardTanh(float[] a, int count) {
        for (int i = 0; i < count; i += VectorMath.LANES) {
            FloatVector x = at(a, i);
            FloatVector bounded = VectorMath.clamp(x, -FLAT, FLAT);
            x.mul(gate(bounded, bounded.mul(bounded))).intoArray(a, i);
        }
    }

    /** d = d·(Φ(x) + x·φ(x)). */
    private static void backwardErf(float[] a, float[] d, int count) {
        for (int i = 0; i < count; i += VectorMath.LANES) {
            FloatVector x = VectorMath.clamp(at(a, i), -FLAT, FLAT);
            FloatVector density = VectorMath.exp(x.mul(x).mul(-0.5f)).mul(INVERSE_SQRT_2_PI);
            at(d, i).mul(x.fma(density, normalCdf(x))).intoArray(d, i);
        }
    }

    /** With s = σ(v): d = d·(s + x·s·(1 − s)·dv/dx). */
    private static void backwardTanh(float[] a, float[] d, int count) {
        FloatVector one = FloatVector.broadcast(VectorMath.FLOATS, 1f);
        for (int i = 0; i < count; i += VectorMath.LANES) {
            FloatVector x = VectorMath.clamp(at(a, i), -FLAT, FLAT);
            FloatVector square = x.mul(x);
            FloatVector s = gate(x, square);
            FloatVector slope = square.mul(3 * CUBIC).add(LINEAR);
            at(d, i).mul(x.mul(s).mul(one.sub(s)).fma(slope, s)).intoArray(d, i);
        }
    }

    private static FloatVector gate(FloatVector x, FloatVector square) {
        return VectorMath.sigmoid(x.mul(square.mul(CUBIC).add(LINEAR)));
    }

    private static FloatVector normalCdf(FloatVector x) {
        return VectorMath.erf(x.mul(INVERSE_SQRT_2)).add(1f).mul(0.5f);
    }

    private static FloatVector at(float[] a, int i) {
        return FloatVector.fromArray(VectorMath.FLOATS, a, i);
    }
}
