package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.backend.cpu.Products.Operand;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * One thread's memory for attention, kept from call to call: a block of scores and of their
 * gradients, [block, longest sequence], and a head's rows as f32. It grows to the longest sequence
 * seen, and lives as long as the kernel.
 */
final class AttentionScratch {
    /** The matrices that a block needs at the same time. */
    enum Slot {
        SCORES,
        SCORE_GRADIENTS,
        NARROW_SCORES,
        NARROW_SCORE_GRADIENTS,
        MASK,
        QUERIES,
        KEYS,
        VALUES,
        OUT,
        OUT_GRADIENTS,
        QUERY_GRADIENTS,
        KEY_GRADIENTS,
        VALUE_GRADIENTS
    }

    private static final int CACHE_LINE = 64;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    private final MemorySegment[] slots = new MemorySegment[Slot.values().length];
    private float[] row = new float[0];
    private int touched;

    static AttentionScratch[] of(CpuPool pool) {
        AttentionScratch[] all = new AttentionScratch[pool.threads()];
        for (int i = 0; i < all.length; i++) {
            all[i] = new AttentionScratch();
        }
        return all;
    }

    /** Memory for at least so many floats, holding anything. */
    MemorySegment floats(Slot slot, long count) {
        MemorySegment held = slots[slot.ordinal()];
        if (held == null || held.byteSize() < 4 * count) {
            held = Arena.ofAuto().allocate(4 * Math.max(count, 1024), 64);
            slots[slot.ordinal()] = held;
        }
        return held;
    }

    /** An f32 matrix of this scratch, of dense rows. */
    Operand matrix(Slot slot, long rows, long cols) {
        return new Operand(floats(slot, rows * cols), 0, cols, false);
    }

    /** A bf16 matrix of this scratch, of dense rows. */
    Operand narrow(Slot slot, long rows, long cols) {
        return new Operand(floats(slot, (rows * cols + 1) / 2), 0, cols, false);
    }

    /** The same, filled with zeros. */
    Operand zeros(Slot slot, long rows, long cols) {
        Operand matrix = matrix(slot, rows, cols);
        matrix.segment().asSlice(0, 4 * rows * cols).fill((byte) 0);
        return matrix;
    }

    /** A head's rows where they lie, in their own type. */
    static Operand inPlace(Tensor from, long firstRow, long col) {
        long offset = from.byteOffset(firstRow) + col * from.dtype().bytes();
        return new Operand(from.segment(), offset, from.stride(), false);
    }

    /** A head's rows as f32: where they lie if they are f32, else widened into the slot. */
    Operand read(Slot slot, Tensor from, long firstRow, int rows, long col, int size) {
        if (from.dtype() == DType.F32) {
            return inPlace(from, firstRow, col);
        }
        Operand matrix = matrix(slot, rows, size);
        touch(from, firstRow, rows, col, size);
        Rows.widen(
                matrix.segment(),
                4L * size,
                from.segment(),
                from.byteOffset(firstRow) + 2 * col,
                2 * from.stride(),
                rows,
                size);
        return matrix;
    }

    /** Stores a dense matrix of this scratch in a head's columns, each row times its factor. */
    void write(
            Tensor to, long firstRow, int rows, long col, int size, Operand from, float[] factors) {
        if (row.length < VectorMath.padded(size)) {
            row = new float[VectorMath.padded(size)];
        }
        if (to.dtype() != DType.F32) {
            touch(to, firstRow, rows, col, size);
        }
        for (int r = 0; r < rows; r++) {
            long source = 4L * r * size;
            if (to.dtype() == DType.F32) {
                long target = to.byteOffset(firstRow + r) + 4 * col;
                scale(to.segment(), target, from.segment(), source, size, factors[r]);
            } else {
                MemorySegment.copy(from.segment(), ValueLayout.JAVA_FLOAT, source, row, 0, size);
                for (int i = 0; i < size; i++) {
                    row[i] *= factors[r];
                }
                Rows.store(to, firstRow + r, col, row, 0, size);
            }
        }
    }

    /**
     * Reads a byte of each cache line of a head's columns, which are about to be written. Rows are
     * kilobytes apart: a store would wait until its line has come from memory, and the next store
     * for this one; loads wait together. On Zen 4, 256 rows of 64 bf16: 16 µs instead of 50.
     */
    private void touch(Tensor to, long firstRow, int rows, long col, int size) {
        MemorySegment segment = to.segment();
        long bytes = (long) size * to.dtype().bytes();
        long offset = col * to.dtype().bytes();
        int sum = 0;
        for (int r = 0; r < rows; r++) {
            long at = to.byteOffset(firstRow + r) + offset;
            for (long i = 0; i < bytes; i += CACHE_LINE) {
                sum += segment.get(ValueLayout.JAVA_BYTE, at + i);
            }
            sum += segment.get(ValueLayout.JAVA_BYTE, at + bytes - 1);
        }
        touched = sum;
    }

    private static void scale(
            MemorySegment to,
            long target,
            MemorySegment from,
            long source,
            int size,
            float factor) {
        int i = 0;
        for (; i <= size - VectorMath.LANES; i += VectorMath.LANES) {
            FloatVector.fromMemorySegment(VectorMath.FLOATS, from, source + 4L * i, ORDER)
                    .mul(factor)
                    .intoMemorySegment(to, target + 4L * i, ORDER);
        }
        for (; i < size; i++) {
            float value = from.get(ValueLayout.JAVA_FLOAT_UNALIGNED, source + 4L * i);
            to.set(ValueLayout.JAVA_FLOAT_UNALIGNED, target + 4L * i, value * factor);
        }
    }

    /** Stores a dense matrix of this scratch in a head's columns. */
    void write(Tensor to, long firstRow, int rows, long col, int size, Operand from) {
        if (to.dtype() == DType.F32) {
            for (int r = 0; r < rows; r++) {
                long target = to.byteOffset(firstRow + r) + 4 * col;
                MemorySegment.copy(from.segment(), 4L * r * size, to.segment(), target, 4L * size);
            }
        } else {
            float[] ones = new float[rows];
            Arrays.fill(ones, 1f);
            write(to, firstRow, rows, col, size, from, ones);
        }
    }
}
