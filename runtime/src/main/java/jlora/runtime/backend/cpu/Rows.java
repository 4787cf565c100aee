package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Moves stretches of tensor rows between memory and f32 arrays, so that every kernel is written
 * once, in f32, whatever its tensors' types are. bf16 widens exactly and is stored rounded to
 * nearest even. The arrays' stretches start at multiples of the vector length and own the padding
 * behind them: loads fill it with zeros, so kernels compute whole vectors.
 */
final class Rows {
    private static final VectorSpecies<Float> FLOATS = VectorMath.FLOATS;
    private static final VectorSpecies<Integer> INTS = VectorMath.INTS;
    private static final VectorSpecies<Short> SHORTS =
            VectorSpecies.of(short.class, VectorShape.forBitSize(FLOATS.vectorBitSize() / 2));
    private static final int LANES = VectorMath.LANES;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    private Rows() {}

    /**
     * Elements that one part should at least have: below, handing work to another thread costs more
     * than it saves.
     */
    static long grain(long cols) {
        return Math.max(1, 8192 / Math.max(1, cols));
    }

    /** to[at .. at + count] = columns {@code col} and on of a row. */
    static void load(float[] to, int at, Tensor from, long row, long col, int count) {
        long offset = from.byteOffset(row) + col * from.dtype().bytes();
        load(to, at, from.segment(), from.dtype(), offset, count);
    }

    /** to[at .. at + count] = elements from byte {@code offset} of a segment on. */
    static void load(float[] to, int at, MemorySegment from, DType dtype, long offset, int count) {
        switch (dtype) {
            case F32 ->
                    MemorySegment.copy(
                            from, ValueLayout.JAVA_FLOAT_UNALIGNED, offset, to, at, count);
            case BF16 -> widen(to, at, from, offset, count);
            case I32, U8, F8_E4M3 -> throw notFloat(dtype);
        }
        for (int i = at + count, end = at + VectorMath.padded(count); i < end; i++) {
            to[i] = 0f;
        }
    }

    /** A whole row. */
    static void load(float[] to, int at, Tensor from, long row) {
        load(to, at, from, row, 0, (int) from.cols());
    }

    /** Columns {@code col} and on of a row = from[at .. at + count]. */
    static void store(Tensor to, long row, long col, float[] from, int at, int count) {
        long offset = to.byteOffset(row) + col * to.dtype().bytes();
        store(to.segment(), to.dtype(), offset, from, at, count);
    }

    /** Elements from byte {@code offset} of a segment on = from[at .. at + count]. */
    static void store(MemorySegment to, DType dtype, long offset, float[] from, int at, int count) {
        switch (dtype) {
            case F32 ->
                    MemorySegment.copy(
                            from, at, to, ValueLayout.JAVA_FLOAT_UNALIGNED, offset, count);
            case BF16 -> round(to, offset, from, at, count);
            case I32, U8, F8_E4M3 -> throw notFloat(dtype);
        }
    }

    /** A whole row. */
    static void store(Tensor to, long row, float[] from, int at) {
        store(to, row, 0, from, at, (int) to.cols());
    }

    /**
     * Overwrites or adds, as the gradient asks; {@code scratch} is as long as {@code from}, which
     * is consumed.
     */
    static void store(
            Grad to, long row, long col, float[] from, int at, int count, float[] scratch) {
        if (to.accumulate()) {
            load(scratch, at, to.tensor(), row, col, count);
            add(from, at, scratch, at, count);
        }
        store(to.tensor(), row, col, from, at, count);
    }

    /** to[at ..] += from[fromAt ..], whole vectors. */
    static void add(float[] to, int at, float[] from, int fromAt, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector.fromArray(FLOATS, to, at + i)
                    .add(FloatVector.fromArray(FLOATS, from, fromAt + i))
                    .intoArray(to, at + i);
        }
    }

    /** to = all zero bits. */
    static void clear(Tensor to, long row) {
        long offset = to.byteOffset(row);
        to.segment().asSlice(offset, to.cols() * to.dtype().bytes()).fill((byte) 0);
    }

    /** The element of an i32 [1,n] tensor. */
    static int i32(Tensor from, long index) {
        return from.segment().get(ValueLayout.JAVA_INT_UNALIGNED, from.byteOffset(0) + index * 4);
    }

    /** The element of an f32 tensor. */
    static float f32(Tensor from, long row, long col) {
        return from.segment().get(ValueLayout.JAVA_FLOAT_UNALIGNED, from.byteOffset(row) + col * 4);
    }

    static void setF32(Tensor to, long row, long col, float value) {
        to.segment().set(ValueLayout.JAVA_FLOAT_UNALIGNED, to.byteOffset(row) + col * 4, value);
    }

    /** The bf16 nearest to a float, ties to even; a NaN stays one. */
    static short roundToBf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        if (Float.isNaN(value)) {
            return (short) (bits >>> 16 | 0x40);
        }
        return (short) (bits + 0x7FFF + (bits >>> 16 & 1) >>> 16);
    }

    /** A matrix of bf16 as f32; offsets and steps from row to row in bytes. */
    static void widen(
            MemorySegment to,
            long toStep,
            MemorySegment from,
            long offset,
            long fromStep,
            int rows,
            int cols) {
        for (int r = 0; r < rows; r++) {
            long source = offset + r * fromStep;
            long target = r * toStep;
            int i = 0;
            for (; i <= cols - LANES; i += LANES) {
                ShortVector.fromMemorySegment(SHORTS, from, source + 2L * i, ORDER)
                        .convertShape(VectorOperators.ZERO_EXTEND_S2I, INTS, 0)
                        .reinterpretAsInts()
                        .lanewise(VectorOperators.LSHL, 16)
                        .reinterpretAsFloats()
                        .intoMemorySegment(to, target + 4L * i, ORDER);
            }
            for (; i < cols; i++) {
                int bits = from.get(ValueLayout.JAVA_SHORT_UNALIGNED, source + 2L * i) << 16;
                to.set(ValueLayout.JAVA_INT_UNALIGNED, target + 4L * i, bits);
            }
        }
    }

    /** A row of f32 as bf16, whole vectors; offsets in bytes. */
    static void narrow(MemorySegment to, long target, MemorySegment from, long source, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector value = FloatVector.fromMemorySegment(FLOATS, from, source + 4L * i, ORDER);
            IntVector bits = value.reinterpretAsInts();
            IntVector high = bits.lanewise(VectorOperators.LSHR, 16);
            IntVector rounded =
                    bits.add(high.and(1)).add(0x7FFF).lanewise(VectorOperators.LSHR, 16);
            rounded = rounded.blend(high.or(0x40), value.test(VectorOperators.IS_NAN).cast(INTS));
            rounded.convertShape(VectorOperators.I2S, SHORTS, 0)
                    .reinterpretAsShorts()
                    .intoMemorySegment(to, target + 2L * i, ORDER);
        }
    }

    private static void widen(float[] to, int at, MemorySegment from, long offset, int count) {
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            ShortVector.fromMemorySegment(SHORTS, from, offset + 2L * i, ORDER)
                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, INTS, 0)
                    .reinterpretAsInts()
                    .lanewise(VectorOperators.LSHL, 16)
                    .reinterpretAsFloats()
                    .intoArray(to, at + i);
        }
        for (; i < count; i++) {
            int bits = from.get(ValueLayout.JAVA_SHORT_UNALIGNED, offset + 2L * i) << 16;
            to[at + i] = Float.intBitsToFloat(bits);
        }
    }

    private static void round(MemorySegment to, long offset, float[] from, int at, int count) {
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector value = FloatVector.fromArray(FLOATS, from, at + i);
            IntVector bits = value.reinterpretAsInts();
            IntVector high = bits.lanewise(VectorOperators.LSHR, 16);
            IntVector rounded =
                    bits.add(high.and(1)).add(0x7FFF).lanewise(VectorOperators.LSHR, 16);
            rounded = rounded.blend(high.or(0x40), value.test(VectorOperators.IS_NAN).cast(INTS));
            rounded.convertShape(VectorOperators.I2S, SHORTS, 0)
                    .reinterpretAsShorts()
                    .intoMemorySegment(to, offset + 2L * i, ORDER);
        }
        for (; i < count; i++) {
            to.set(ValueLayout.JAVA_SHORT_UNALIGNED, offset + 2L * i, roundToBf16(from[at + i]));
        }
    }

    private static IllegalArgumentException notFloat(DType dtype) {
        return new IllegalArgumentException(dtype.torchName() + " elements are not floats");
    }
}
