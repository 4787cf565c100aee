package jlora.runtime.backend.cpu;

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
                2,
                (scratch, row, col, count) -> {
                    float[] gate = scratch[0];
                    float[] up = scratch[1];
                    Rows.load(gate, 0, gateUp, row, col, count);
                    Rows.load(up, 0, gateUp, row, half + col, count);
                    forward(gate, up, count);
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
                3,
                (scratch, row, col, count) -> {
                    float[] gate = scratch[0];
                    float[] up = scratch[1];
                    float[] d = scratch[2];
                    Rows.load(gate, 0, gateUp, row, col, count);
                    Rows.load(up, 0, gateUp, row, half + col, count);
                    Rows.load(d, 0, dOut, row, col, count);
                    backward(gate, up, d, count);
                    Rows.store(dGateUp, row, col, gate, 0, count);
                    Rows.store(dGateUp, row, half + col, up, 0, count);
                });
    }

    /** gate = silu(gate)·up. */
    private static void forward(float[] gate, float[] up, int count) {
        for (int i = 0; i < count; i += VectorMath.LANES) {
            FloatVector z = FloatVector.fromArray(VectorMath.FLOATS, gate, i);
            FloatVector silu = z.mul(VectorMath.sigmoid(z));
            silu.mul(FloatVector.fromArray(VectorMath.FLOATS, up, i)).intoArray(gate, i);
        }
    }

    /** gate, up = their gradients; d silu(z)/dz = σ(z)·(1 + z·(1 − σ(z))). */
    private static void backward(float[] gate, float[] up, float[] d, int count) {
        FloatVector one = FloatVector.broadcast(VectorMath.FLOATS, 1f);
        for (int i = 0; i < count; i += VectorMath.LANES) {
            FloatVector z = FloatVector.fromArray(VectorMath.FLOATS, gate, i);
            FloatVector u = FloatVector.fromArray(VectorMath.FLOATS, up, i);
            FloatVector g = FloatVector.fromArray(VectorMath.FLOATS, d, i);
            FloatVector sigma = VectorMath.sigmoid(z);
            FloatVector slope = sigma.mul(z.fma(one.sub(sigma), one));
            g.mul(u).mul(slope).intoArray(gate, i);
            g.mul(z.mul(sigma)).intoArray(up, i);
        }
    }
}
