package jlora.runtime.backend.cpu;

import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

import jlora.runtime.kernel.GradNormKernel;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * {@link GradNormKernel} in f64, over blocks of fixed size: the same bits for every number of
 * threads.
 */
final class CpuGradNorm implements GradNormKernel {
    private static final int BLOCK = 1 << 14;
    private static final VectorSpecies<Float> FLOATS = VectorMath.FLOATS;
    private static final VectorSpecies<Double> DOUBLES = DoubleVector.SPECIES_PREFERRED;

    private final CpuPool pool;

    CpuGradNorm(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public void forward(Tensor norm, Tensor updates, Tensor gradient, float maxNorm) {
        long total = gradient.cols();
        double[] squares = new double[Math.toIntExact((total + BLOCK - 1) / BLOCK)];
        pool.run(
                squares.length,
                1,
                (part, from, to) -> {
                    for (long block = from; block < to; block++) {
                        int count = (int) Math.min(BLOCK, total - block * BLOCK);
                        MemorySegment values =
                                gradient.segment()
                                        .asSlice(
                                                gradient.byteOffset(0) + block * BLOCK * 4,
                                                count * 4L);
                        squares[(int) block] = sumOfSquares(values, count);
                    }
                });
        double sum = 0;
        for (double square : squares) {
            sum += square;
        }
        float length = (float) Math.sqrt(sum);
        Rows.setF32(norm, 0, 0, length);
        Rows.setF32(norm, 0, 1, maxNorm == 0 ? 1f : Math.min(1f, maxNorm / (length + 1e-6f)));
        if (Float.isFinite(length)) {
            Rows.setF32(updates, 0, 0, Rows.f32(updates, 0, 0) + 1);
        }
    }

    private static double sumOfSquares(MemorySegment values, int count) {
        DoubleVector low = DoubleVector.zero(DOUBLES);
        DoubleVector high = low;
        int i = 0;
        for (; i <= count - FLOATS.length(); i += FLOATS.length()) {
            FloatVector x =
                    FloatVector.fromMemorySegment(FLOATS, values, 4L * i, ByteOrder.nativeOrder());
            DoubleVector a = (DoubleVector) x.convertShape(VectorOperators.F2D, DOUBLES, 0);
            DoubleVector b = (DoubleVector) x.convertShape(VectorOperators.F2D, DOUBLES, 1);
            low = a.fma(a, low);
            high = b.fma(b, high);
        }
        double sum = LaneSums.sum(low.add(high));
        for (; i < count; i++) {
            double x = values.get(ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * i);
            sum += x * x;
        }
        return sum;
    }
}
