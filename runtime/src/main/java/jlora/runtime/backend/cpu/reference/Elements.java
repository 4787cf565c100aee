package jlora.runtime.backend.cpu.reference;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.E4m3;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * Single elements of tensors in host memory, as doubles. Stores round once, to nearest even,
 * whatever the element type; indices outside the view fail.
 */
public final class Elements {
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;
    private static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;

    private Elements() {}

    /** The element of a tensor of any type. */
    public static double get(Tensor tensor, long row, long col) {
        long at = byteAt(tensor, row, col);
        MemorySegment segment = tensor.segment();
        return switch (tensor.dtype()) {
            case F32 -> segment.get(FLOAT, at);
            case BF16 -> Float.intBitsToFloat(segment.get(SHORT, at) << 16);
            case I32 -> segment.get(INT, at);
            case U8 -> Byte.toUnsignedInt(segment.get(BYTE, at));
            case F8_E4M3 -> E4m3.value(segment.get(BYTE, at));
        };
    }

    /** Stores into a float tensor. */
    public static void set(Tensor tensor, long row, long col, double value) {
        long at = byteAt(tensor, row, col);
        MemorySegment segment = tensor.segment();
        switch (tensor.dtype()) {
            case F32 -> segment.set(FLOAT, at, (float) value);
            case BF16 -> segment.set(SHORT, at, bfloat16(value));
            case F8_E4M3 -> segment.set(BYTE, at, E4m3.nearest(value));
            case I32, U8 -> throw notFloat(tensor);
        }
    }

    /** The element of an integer tensor. */
    public static int getInt(Tensor tensor, long row, long col) {
        requireInts(tensor);
        long at = byteAt(tensor, row, col);
        return tensor.dtype() == DType.U8
                ? Byte.toUnsignedInt(tensor.segment().get(BYTE, at))
                : tensor.segment().get(INT, at);
    }

    /** Stores into an integer tensor. */
    public static void setInt(Tensor tensor, long row, long col, int value) {
        requireInts(tensor);
        long at = byteAt(tensor, row, col);
        if (tensor.dtype() == DType.U8) {
            tensor.segment().set(BYTE, at, (byte) value);
        } else {
            tensor.segment().set(INT, at, value);
        }
    }

    /** Overwrites or adds, as the target asks; a sum is rounded once. */
    static void put(Grad target, long row, long col, double value) {
        Tensor tensor = target.tensor();
        set(tensor, row, col, target.accumulate() ? get(tensor, row, col) + value : value);
    }

    /** The bits of the bfloat16 nearest to a double, ties to even. */
    static short bfloat16(double value) {
        int exponent = Math.max(Math.getExponent(value), Float.MIN_EXPONENT);
        double unit = Math.scalb(1.0, exponent - 7); // 8 significant bits
        float rounded = (float) (Math.rint(value / unit) * unit);
        return (short) (Float.floatToIntBits(rounded) >>> 16);
    }

    private static IllegalArgumentException notFloat(Tensor tensor) {
        return new IllegalArgumentException("plain floats asked of " + tensor.describe());
    }

    private static long byteAt(Tensor tensor, long row, long col) {
        Objects.checkIndex(row, tensor.rows());
        Objects.checkIndex(col, tensor.cols());
        return tensor.byteOffset(row) + col * tensor.dtype().bytes();
    }

    private static void requireInts(Tensor tensor) {
        if (tensor.dtype() != DType.I32 && tensor.dtype() != DType.U8) {
            throw new IllegalArgumentException("integers asked of " + tensor.describe());
        }
    }
}
