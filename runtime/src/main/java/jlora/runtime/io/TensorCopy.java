package jlora.runtime.io;

import jlora.runtime.JloraException;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Copies safetensors data into placed host tensors of f32 or bf16, whatever the row stride,
 * converting from F32, F16, BF16 and F64. Narrowing rounds to nearest, ties to even; F64 goes to
 * bf16 through f32, as PyTorch does. Other source types are exit code 3.
 */
public final class TensorCopy {
    private static final ValueLayout.OfInt INT =
            ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfDouble DOUBLE =
            ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /**
     * Elements converted at a time: source, f32 bits and result stay in the first two cache levels.
     */
    private static final int CHUNK = 8192;

    /** Edge of the square blocks in which a matrix is transposed. */
    private static final int TILE = 128;

    private final SafetensorsEntry from;
    private final Tensor to;
    private final short[] shorts = new short[CHUNK];
    private final double[] doubles;
    private final int[] bits;

    private TensorCopy(SafetensorsEntry from, Tensor to) {
        switch (from.type()) {
            case F32, F16, BF16, F64 -> {}
            default ->
                    throw JloraException.corrupt(
                            from.file()
                                    + ": tensor "
                                    + from.describe()
                                    + " has a type that jlora does not compute with; convert it to"
                                    + " F32, F16 or BF16");
        }
        if (!to.dtype().isFloat()) {
            throw new IllegalArgumentException("weights do not go into " + to.describe());
        }
        this.from = from;
        this.to = to;
        this.doubles = new double[from.type() == SafetensorsType.F64 ? CHUNK : 0];
        this.bits = new int[Math.max(CHUNK, TILE * TILE)];
    }

    /** Copies a whole matrix (or a vector as one row); the shapes must agree. */
    public static void copy(SafetensorsEntry from, Tensor to) {
        if (from.rows() != to.rows() || from.cols() != to.cols()) {
            throw mismatch(from, to, "");
        }
        copyRows(from, 0, to);
    }

    /** Copies rows {@code firstRow} and on, as many as {@code to} has. */
    public static void copyRows(SafetensorsEntry from, long firstRow, Tensor to) {
        if (firstRow < 0 || from.rows() - firstRow < to.rows() || from.cols() != to.cols()) {
            throw mismatch(from, to, " from row " + firstRow);
        }
        new TensorCopy(from, to).rows(firstRow);
    }

    /** Copies a whole matrix [a, b] into {@code to} [b, a], as GPT-2's Conv1D weights need. */
    public static void copyTransposed(SafetensorsEntry from, Tensor to) {
        if (from.rows() != to.cols() || from.cols() != to.rows()) {
            throw mismatch(from, to, " transposed");
        }
        copyColumns(from, 0, to);
    }

    /** Copies columns {@code firstColumn} and on into the rows of {@code to}, as many as it has. */
    public static void copyColumns(SafetensorsEntry from, long firstColumn, Tensor to) {
        if (firstColumn < 0 || from.cols() - firstColumn < to.rows() || from.rows() != to.cols()) {
            throw mismatch(from, to, " from column " + firstColumn);
        }
        new TensorCopy(from, to).columns(firstColumn);
    }

    private static JloraException mismatch(SafetensorsEntry from, Tensor to, String how) {
        return JloraException.corrupt(
                from.file()
                        + ": tensor "
                        + from.describe()
                        + how
                        + " does not fit "
                        + to.describe()
                        + "; check that weights and config.json belong together");
    }

    private void rows(long firstRow) {
        long cols = to.cols();
        if (to.isDense()) {
            run(firstRow * cols, to.byteOffset(0), to.rows() * cols);
            return;
        }
        for (long row = 0; row < to.rows(); row++) {
            run((firstRow + row) * cols, to.byteOffset(row), cols);
        }
    }

    /** Copies adjacent elements to adjacent elements. */
    private void run(long element, long toByte, long count) {
        int width = to.dtype().bytes();
        boolean same =
                from.type()
                        == (to.dtype() == DType.F32 ? SafetensorsType.F32 : SafetensorsType.BF16);
        if (same) {
            MemorySegment.copy(from.data(), element * width, to.segment(), toByte, count * width);
            return;
        }
        for (long at = 0; at < count; at += CHUNK) {
            int n = (int) Math.min(CHUNK, count - at);
            read(element + at, n, 0);
            write(toByte + at * width, n);
        }
    }

    private void columns(long firstColumn) {
        int width = to.dtype().bytes();
        int[] column = new int[TILE];
        short[] narrow = new short[TILE];
        for (long row = 0; row < from.rows(); row += TILE) {
            int rows = (int) Math.min(TILE, from.rows() - row);
            for (long col = 0; col < to.rows(); col += TILE) {
                int cols = (int) Math.min(TILE, to.rows() - col);
                for (int r = 0; r < rows; r++) {
                    read((row + r) * from.cols() + firstColumn + col, cols, r * TILE);
                }
                for (int c = 0; c < cols; c++) {
                    for (int r = 0; r < rows; r++) {
                        column[r] = bits[r * TILE + c];
                    }
                    long at = to.byteOffset(col + c) + row * width;
                    if (to.dtype() == DType.F32) {
                        MemorySegment.copy(column, 0, to.segment(), INT, at, rows);
                    } else {
                        round(column, narrow, rows);
                        MemorySegment.copy(narrow, 0, to.segment(), SHORT, at, rows);
                    }
                }
            }
        }
    }

    /** Puts elements as f32 bits into {@code bits[at..]}. */
    private void read(long element, int count, int at) {
        MemorySegment data = from.data();
        switch (from.type()) {
            case F32 -> MemorySegment.copy(data, INT, element * 4, bits, at, count);
            case BF16 -> {
                MemorySegment.copy(data, SHORT, element * 2, shorts, 0, count);
                for (int i = 0; i < count; i++) {
                    bits[at + i] = shorts[i] << 16;
                }
            }
            case F16 -> {
                MemorySegment.copy(data, SHORT, element * 2, shorts, 0, count);
                for (int i = 0; i < count; i++) {
                    bits[at + i] = Float.floatToRawIntBits(Float.float16ToFloat(shorts[i]));
                }
            }
            case F64 -> {
                MemorySegment.copy(data, DOUBLE, element * 8, doubles, 0, count);
                for (int i = 0; i < count; i++) {
                    bits[at + i] = Float.floatToRawIntBits((float) doubles[i]);
                }
            }
            default -> throw new AssertionError(from.type());
        }
    }

    private void write(long toByte, int count) {
        if (to.dtype() == DType.F32) {
            MemorySegment.copy(bits, 0, to.segment(), INT, toByte, count);
        } else {
            round(bits, shorts, count);
            MemorySegment.copy(shorts, 0, to.segment(), SHORT, toByte, count);
        }
    }

    /** f32 bits to bf16 bits: nearest, ties to even; a NaN stays one, made quiet. */
    private static void round(int[] f32, short[] bf16, int count) {
        for (int i = 0; i < count; i++) {
            int x = f32[i];
            int rounded = x + 0x7fff + (x >>> 16 & 1) >>> 16;
            int quiet = x >>> 16 | 0x40;
            bf16[i] = (short) ((x & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
        }
    }
}
