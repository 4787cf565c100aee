package jlora.runtime.backend.cpu;

import static jlora.runtime.backend.cpu.VectorMath.FLOATS;
import static jlora.runtime.backend.cpu.VectorMath.LANES;
import static jlora.runtime.backend.cpu.VectorMath.ONE;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.kernel.SwigluKernel;
import jlora.runtime.tensor.Tensor;

/** {@link SwigluKernel} by stretches of rows. */
final class CpuSwiglu implements SwigluKernel {
    private final CpuPool pool;

    CpuSwiglu(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public void forward(Tensor out, Tensor gateUp) {
        long half = out.cols();
        Chunks.run(
                pool,
                out.rows(),
                half,
                3,
                (scratch, row, col, count) -> {
                    float[] gate = scratch[0];
                    float[] up = scratch[1];
                    float[] sigma = scratch[2];
                    Rows.load(gate, 0, gateUp, row, col, count);
                    Rows.load(up, 0, gateUp, row, half + col, count);
                    System.arraycopy(gate, 0, sigma, 0, VectorMath.padded(count));
                    VectorMath.sigmoid(sigma, count);
                    forward(gate, up, sigma, count);
                    Rows.store(out, row, col, gate, 0, count);
                });
    }

    @Override
    public void backward(Tensor dGateUp, Tensor dOut, Tensor gateUp) {
        long half = dOut.cols();
        Chunks.run(
                pool,
                dOut.rows(),
                half,
                4,
                (scratch, row, col, count) -> {
                    float[] gate = scratch[0];
                    float[] up = scratch[1];
                    float[] sigma = scratch[2];
                    float[] d = scratch[3];
                    Rows.load(gate, 0, gateUp, row, col, count);
                    Rows.load(up, 0, gateUp, row, half + col, count);
                    Rows.load(d, 0, dOut, row, col, count);
                    System.arraycopy(gate, 0, sigma, 0, VectorMath.padded(count));
                    VectorMath.sigmoid(sigma, count);
                    backward(gate, up, sigma, d, count);
                    Rows.store(dGateUp, row, col, gate, 0, count);
                    Rows.store(dGateUp, row, half + col, up, 0, count);
                });
    }

    /** gate = silu(gate)·up. */
    private static void forward(float[] gate, float[] up, float[] sigma, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector.fromArray(FLOATS, gate, i)
                    .mul(FloatVector.fromArray(FLOATS, sigma, i))
                    .mul(FloatVector.fromArray(FLOATS, up, i))
                    .intoArray(gate, i);
        }
    }

    /** gate, up = their gradients; d silu(z)/dz = σ(z)·(1 + z·(1 − σ(z))). */
    private static void backward(float[] gate, float[] up, float[] sigma, float[] d, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector z = FloatVector.fromArray(FLOATS, gate, i);
            FloatVector s = FloatVector.fromArray(FLOATS, sigma, i);
            FloatVector g = FloatVector.fromArray(FLOATS, d, i);
            FloatVector slope = s.mul(z.fma(ONE.sub(s), ONE));
            g.mul(FloatVector.fromArray(FLOATS, up, i)).mul(slope).intoArray(gate, i);
            g.mul(z.mul(s)).intoArray(up, i);
        }
    }
}
