package jlora.runtime.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.ValueLayout;
import java.math.BigDecimal;
import java.util.Arrays;
import java.util.Random;

/** Row loads and stores: values, rounding, padding, and that neighbours stay untouched. */
final class RowsTest {
    private static final short GUARD = (short) 0xA5A5;

    private static Tensor padded(MemoryArena arena, DType dtype, int rows, int cols, int pad) {
        Tensor tensor = Tensor.padded("t", Storage.Role.ACTIVATION, dtype, rows, cols, pad);
        arena.place(tensor.storage(), 0);
        return tensor;
    }

    private static short bf16(Tensor tensor, long row, long col) {
        return tensor.segment().get(ValueLayout.JAVA_SHORT, tensor.byteOffset(row) + 2 * col);
    }

    /** The bf16 neighbour at the least distance, the even one at equal distance. */
    private static short nearest(float value) {
        short low = (short) (Float.floatToRawIntBits(value) >>> 16);
        short high = (short) (low + 1);
        BigDecimal x = new BigDecimal(value);
        float lowValue = Float.intBitsToFloat(low << 16);
        float highValue = Float.intBitsToFloat(high << 16);
        if (Float.isInfinite(highValue)) {
            highValue = Math.copySign(0x1p127f, highValue);
            BigDecimal edge = new BigDecimal(highValue).multiply(BigDecimal.TWO);
            int order =
                    x.subtract(new BigDecimal(lowValue)).abs().compareTo(edge.subtract(x).abs());
            return order < 0 ? low : high;
        }
        int order =
                x.subtract(new BigDecimal(lowValue))
                        .abs()
                        .compareTo(new BigDecimal(highValue).subtract(x).abs());
        return order < 0 || order == 0 && (low & 1) == 0 ? low : high;
    }

    @Test
    void bf16StoresRoundToNearestEven() {
        Random random = new Random(7);
        float[] values = new float[4096];
        for (int i = 0; i < values.length; i++) {
            int bits = random.nextInt();
            if (i % 4 == 0) {
                bits = bits & 0xFFFF0000 | 0x8000;
            }
            float value = Float.intBitsToFloat(bits);
            values[i] = Float.isFinite(value) ? value : i;
        }
        try (MemoryArena arena = MemoryArena.host("test", 1 << 16)) {
            Tensor tensor = padded(arena, DType.BF16, 1, values.length, 0);
            Rows.store(tensor, 0, values, 0);
            for (int i = 0; i < values.length; i++) {
                short expected = nearest(values[i]);
                assertEquals(expected, bf16(tensor, 0, i), "vector store of " + values[i]);
                assertEquals(expected, Rows.roundToBf16(values[i]), "scalar of " + values[i]);
            }
        }
    }

    @Test
    void bf16KeepsInfinitiesAndNaN() {
        float[] values = new float[64];
        Arrays.fill(values, Float.intBitsToFloat(0x7F800001));
        values[1] = Float.POSITIVE_INFINITY;
        values[2] = Float.NEGATIVE_INFINITY;
        values[3] = Float.intBitsToFloat(0xFFFFFFFF);
        try (MemoryArena arena = MemoryArena.host("test", 1 << 12)) {
            Tensor tensor = padded(arena, DType.BF16, 1, 61, 3);
            Rows.store(tensor, 0, values, 0);
            float[] back = new float[64];
            Rows.load(back, 0, tensor, 0);
            assertEquals(Float.POSITIVE_INFINITY, back[1]);
            assertEquals(Float.NEGATIVE_INFINITY, back[2]);
            for (int i : new int[] {0, 3, 4, 32, 60}) {
                assertTrue(Float.isNaN(back[i]), "element " + i);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 15, 16, 17, 31, 33, 64, 100})
    void rowsOfEitherTypeTravelWithoutTouchingTheirNeighbours(int cols) {
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            try (MemoryArena arena = MemoryArena.host("test", 1 << 14)) {
                Tensor tensor = padded(arena, dtype, 3, cols, 5);
                for (long at = 0; at < tensor.storage().bytes(); at += 2) {
                    tensor.segment().set(ValueLayout.JAVA_SHORT, at, GUARD);
                }
                byte[] before = tensor.segment().toArray(ValueLayout.JAVA_BYTE);
                float[] row = new float[VectorMath.padded(cols) + VectorMath.LANES];
                for (int i = 0; i < row.length; i++) {
                    row[i] = i + 1;
                }
                Rows.store(tensor, 1, row, VectorMath.LANES);
                byte[] after = tensor.segment().toArray(ValueLayout.JAVA_BYTE);
                long from = tensor.byteOffset(1);
                long end = from + (long) cols * dtype.bytes();
                for (int i = 0; i < before.length; i++) {
                    if (i < from || i >= end) {
                        assertEquals(before[i], after[i], dtype + " byte " + i);
                    }
                }
                float[] back = new float[row.length];
                Arrays.fill(back, -1f);
                Rows.load(back, 0, tensor, 1);
                for (int i = 0; i < VectorMath.padded(cols); i++) {
                    float expected = i < cols ? VectorMath.LANES + i + 1 : 0f;
                    assertEquals(expected, back[i], dtype + " element " + i);
                }
                assertEquals(-1f, back[VectorMath.padded(cols)]);
            }
        }
    }

    @Test
    void gradientsOverwriteOrAdd() {
        try (MemoryArena arena = MemoryArena.host("test", 1 << 12)) {
            Tensor tensor = padded(arena, DType.F32, 1, 20, 0);
            float[] ones = new float[32];
            float[] scratch = new float[32];
            Arrays.fill(ones, 1f);
            Rows.store(Grad.overwrite(tensor), 0, 0, ones, 0, 20, scratch);
            Rows.store(Grad.overwrite(tensor), 0, 0, ones, 0, 20, scratch);
            assertEquals(1f, Rows.f32(tensor, 0, 19));
            Rows.store(Grad.accumulate(tensor), 0, 4, ones, 0, 16, scratch);
            assertEquals(2f, Rows.f32(tensor, 0, 19));
            assertEquals(1f, Rows.f32(tensor, 0, 3));
        }
    }
}
