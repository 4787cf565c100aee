package jlora.runtime.backend.cpu;

import static jlora.runtime.backend.cpu.VectorMath.FLOATS;
import static jlora.runtime.backend.cpu.VectorMath.INTS;
import static jlora.runtime.backend.cpu.VectorMath.LANES;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.tensor.E4m3;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;

/** Elements that get one scale, while they are quantised. One thread's own. */
final class E4m3Group {
    /** The bits of the least normal value, 2⁻⁶, and of the largest. */
    private static final int LEAST_NORMAL = 0x3C800000;

    private static final int LARGEST = 0x43E00000;

    /** Mantissa bits that a code lacks, and what the exponents' biases differ by, as a code. */
    private static final int LOST_BITS = 20;

    private static final int REBIAS = (127 - 7) << 3;

    /** Added to a value below 2⁻⁶ it leaves the nearest multiple of 2⁻⁹ in the low bits. */
    private static final float SUBNORMAL = 0x1p14f;

    private final float[] values;
    private final int[] codes;
    private final byte[] bytes;
    private final int step;
    private float reciprocal;
    private long row;
    private long col;
    private int rows;
    private int count;

    /** For at most so many rows and columns. */
    E4m3Group(int rows, int cols) {
        step = VectorMath.padded(cols);
        values = new float[rows * step];
        codes = new int[step];
        bytes = new byte[cols];
    }

    /** Reads the elements, each times its column's factor; returns their scale. */
    float read(
            Tensor from, long row, int rows, int col, int count, Optional<float[]> columnFactors) {
        this.row = row;
        this.rows = rows;
        this.col = col;
        this.count = count;
        float largest = Fp8Matrix.LEAST_MAGNITUDE;
        for (int r = 0; r < rows; r++) {
            int at = r * step;
            Rows.load(values, at, from, row + r, col, count);
            if (columnFactors.isPresent()) {
                float[] factors = columnFactors.get();
                for (int i = 0; i < count; i++) {
                    values[at + i] *= factors[col + i];
                }
            }
            largest = Math.max(largest, largest(at));
        }
        reciprocal = Fp8Matrix.LARGEST / largest;
        return largest / Fp8Matrix.LARGEST;
    }

    /** NaN is none; what is behind the elements is zero. */
    private float largest(int at) {
        FloatVector largest = FloatVector.zero(FLOATS);
        for (int i = at; i < at + count; i += LANES) {
            FloatVector magnitude = FloatVector.fromArray(FLOATS, values, i).abs();
            largest = largest.blend(magnitude, magnitude.compare(VectorOperators.GT, largest));
        }
        return largest.reduceLanes(VectorOperators.MAX);
    }

    /** Writes the codes of what was read. */
    void write(Tensor to) {
        for (int r = 0; r < rows; r++) {
            for (int i = 0; i < count; i += LANES) {
                codes(FloatVector.fromArray(FLOATS, values, r * step + i).mul(reciprocal))
                        .intoArray(codes, i);
            }
            for (int i = 0; i < count; i++) {
                bytes[i] = (byte) codes[i];
            }
            MemorySegment.copy(
                    bytes,
                    0,
                    to.segment(),
                    ValueLayout.JAVA_BYTE,
                    to.byteOffset(row + r) + col,
                    count);
        }
    }

    private static IntVector codes(FloatVector value) {
        IntVector bits = value.reinterpretAsInts();
        IntVector magnitude = bits.and(Integer.MAX_VALUE).min(LARGEST);
        IntVector normal =
                magnitude
                        .lanewise(VectorOperators.LSHR, LOST_BITS)
                        .and(1)
                        .add(magnitude)
                        .add((1 << LOST_BITS - 1) - 1)
                        .lanewise(VectorOperators.LSHR, LOST_BITS)
                        .sub(REBIAS);
        IntVector small =
                magnitude
                        .reinterpretAsFloats()
                        .add(SUBNORMAL)
                        .reinterpretAsInts()
                        .sub(Float.floatToRawIntBits(SUBNORMAL));
        VectorMask<Integer> subnormal = magnitude.compare(VectorOperators.LT, LEAST_NORMAL);
        IntVector sign = bits.lanewise(VectorOperators.LSHR, 24).and(0x80);
        VectorMask<Integer> nan = value.test(VectorOperators.IS_NAN).cast(INTS);
        return normal.blend(small, subnormal).or(sign).blend(E4m3.NAN, nan);
    }
}
