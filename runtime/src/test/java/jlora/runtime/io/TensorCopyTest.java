package jlora.runtime.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.Random;
import java.util.stream.Stream;

class TensorCopyTest {
    private static final byte GUARD = (byte) 0xa5;

    static Stream<Arguments> cases() {
        Stream.Builder<Arguments> cases = Stream.builder();
        for (SafetensorsType from :
                new SafetensorsType[] {
                    SafetensorsType.F32,
                    SafetensorsType.F16,
                    SafetensorsType.BF16,
                    SafetensorsType.F64
                }) {
            for (DType to : new DType[] {DType.F32, DType.BF16}) {
                for (int[] shape : new int[][] {{1, 1}, {3, 7}, {131, 139}, {1, 8300}, {300, 1}}) {
                    for (int pad : new int[] {0, 5}) {
                        cases.add(arguments(from, to, shape[0], shape[1], pad));
                    }
                }
            }
        }
        return cases.build();
    }

    /** Random bits of the type at hand, so that infinities, NaN and denormals come up as well. */
    private static SafetensorsEntry random(
            Arena arena, SafetensorsType type, long rows, long cols, long seed) {
        // One byte of offset: files promise no alignment.
        long bytes = rows * cols * type.bits() / 8;
        MemorySegment data = arena.allocate(bytes + 1).asSlice(1);
        Random random = new Random(seed);
        for (long i = 0; i < rows * cols; i++) {
            switch (type) {
                case F32 -> data.setAtIndex(ValueLayout.JAVA_INT_UNALIGNED, i, random.nextInt());
                case F64 ->
                        data.setAtIndex(
                                ValueLayout.JAVA_DOUBLE_UNALIGNED,
                                i,
                                Float.intBitsToFloat(random.nextInt())
                                        * (1 + random.nextDouble() * 1e-7));
                default ->
                        data.setAtIndex(
                                ValueLayout.JAVA_SHORT_UNALIGNED, i, (short) random.nextInt());
            }
        }
        return new SafetensorsEntry(
                Path.of("m.safetensors"), "w", type, new long[] {rows, cols}, data);
    }

    private static float value(SafetensorsEntry entry, long index) {
        MemorySegment data = entry.data();
        return switch (entry.type()) {
            case F32 -> data.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, index);
            case F64 -> (float) data.getAtIndex(ValueLayout.JAVA_DOUBLE_UNALIGNED, index);
            case F16 ->
                    Float.float16ToFloat(data.getAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, index));
            default ->
                    Float.intBitsToFloat(
                            data.getAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, index) << 16);
        };
    }

    /** The nearest bf16 by exact decimal distances, the even one of two equally near. */
    private static float nearestBf16(float x) {
        if (!Float.isFinite(x)) {
            return x;
        }
        int low = Float.floatToRawIntBits(x) & 0xffff0000;
        float below = Float.intBitsToFloat(low);
        float above = Float.intBitsToFloat(low + 0x10000);
        if (below == x) {
            return x;
        }
        BigDecimal exact = new BigDecimal(x).abs();
        // Beyond the largest finite value, the format's next step would be 2^128.
        BigDecimal up =
                Float.isInfinite(above) ? BigDecimal.TWO.pow(128) : new BigDecimal(above).abs();
        int nearer = exact.subtract(new BigDecimal(below).abs()).compareTo(up.subtract(exact));
        boolean evenBelow = (low >>> 16 & 1) == 0;
        return nearer < 0 || nearer == 0 && evenBelow ? below : above;
    }

    private static float element(Tensor tensor, long row, long col) {
        long at = tensor.byteOffset(row) + col * tensor.dtype().bytes();
        return tensor.dtype() == DType.F32
                ? tensor.segment().get(ValueLayout.JAVA_FLOAT, at)
                : Float.intBitsToFloat(tensor.segment().get(ValueLayout.JAVA_SHORT, at) << 16);
    }

    private static Tensor placed(MemoryArena arena, DType dtype, long rows, long cols, int pad) {
        Tensor tensor = Tensor.padded("w", Storage.Role.WEIGHT, dtype, rows, cols, pad);
        arena.place(tensor.storage(), 0);
        tensor.segment().fill(GUARD);
        return tensor;
    }

    private static void assertPadUntouched(Tensor tensor, int pad) {
        for (long row = 0; row < tensor.rows(); row++) {
            long end = tensor.byteOffset(row) + tensor.cols() * tensor.dtype().bytes();
            for (long i = 0; i < (long) pad * tensor.dtype().bytes(); i++) {
                assertEquals(GUARD, tensor.segment().get(ValueLayout.JAVA_BYTE, end + i));
            }
        }
    }

    @ParameterizedTest
    @MethodSource("cases")
    void copiesRoundToNearestEven(SafetensorsType from, DType to, int rows, int cols, int pad) {
        try (Arena source = Arena.ofConfined();
                MemoryArena target = MemoryArena.host("t", (rows * (cols + 5L)) * 4 + 4096)) {
            SafetensorsEntry entry = random(source, from, rows, cols, rows + 31L * cols);
            Tensor tensor = placed(target, to, rows, cols, pad);
            TensorCopy.copy(entry, tensor);
            for (int r = 0; r < rows; r++) {
                for (int c = 0; c < cols; c++) {
                    float x = value(entry, (long) r * cols + c);
                    float expected = to == DType.F32 ? x : nearestBf16(x);
                    assertEquals(expected, element(tensor, r, c), 0f);
                }
            }
            assertPadUntouched(tensor, pad);
        }
    }

    @ParameterizedTest
    @MethodSource("cases")
    void transposedCopiesAgree(SafetensorsType from, DType to, int rows, int cols, int pad) {
        try (Arena source = Arena.ofConfined();
                MemoryArena target = MemoryArena.host("t", (cols * (rows + 5L)) * 4 + 4096)) {
            SafetensorsEntry entry = random(source, from, rows, cols, rows + 31L * cols);
            Tensor tensor = placed(target, to, cols, rows, pad);
            TensorCopy.copyTransposed(entry, tensor);
            for (int r = 0; r < rows; r++) {
                for (int c = 0; c < cols; c++) {
                    float x = value(entry, (long) r * cols + c);
                    float expected = to == DType.F32 ? x : nearestBf16(x);
                    assertEquals(expected, element(tensor, c, r), 0f);
                }
            }
            assertPadUntouched(tensor, pad);
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "BF16"})
    void rangesOfRowsAndColumns(DType to) {
        try (Arena source = Arena.ofConfined();
                MemoryArena target = MemoryArena.host("t", 65536)) {
            SafetensorsEntry entry = random(source, SafetensorsType.BF16, 11, 13, 5);
            Tensor rows = placed(target, to, 4, 13, 2);
            TensorCopy.copyRows(entry, 7, rows);
            assertEquals(value(entry, 10 * 13 + 12), element(rows, 3, 12), 0f);
            Tensor columns = placed(target, to, 3, 11, 2);
            TensorCopy.copyColumns(entry, 10, columns);
            assertEquals(value(entry, 10 * 13 + 12), element(columns, 2, 10), 0f);
            assertThrows(JloraException.class, () -> TensorCopy.copyRows(entry, 8, rows));
            assertThrows(JloraException.class, () -> TensorCopy.copyColumns(entry, 11, columns));
        }
    }

    @Test
    void aWrongShapeNamesTensorFileAndShapes() {
        try (Arena source = Arena.ofConfined();
                MemoryArena target = MemoryArena.host("t", 65536)) {
            SafetensorsEntry entry = random(source, SafetensorsType.BF16, 2, 3, 5);
            Tensor tensor = placed(target, DType.F32, 3, 2, 0);
            JloraException e =
                    assertThrows(JloraException.class, () -> TensorCopy.copy(entry, tensor));
            assertEquals(ExitCode.CORRUPT_INPUT, e.exitCode());
            assertTrue(
                    e.getMessage().contains("m.safetensors: tensor 'w' BF16 [2, 3]"),
                    e.getMessage());
        }
    }

    @Test
    void integersAreNotWeights() {
        try (Arena source = Arena.ofConfined();
                MemoryArena target = MemoryArena.host("t", 65536)) {
            SafetensorsEntry entry = random(source, SafetensorsType.I16, 2, 3, 5);
            Tensor tensor = placed(target, DType.F32, 2, 3, 0);
            JloraException e =
                    assertThrows(JloraException.class, () -> TensorCopy.copy(entry, tensor));
            assertTrue(e.getMessage().contains("convert it to F32"), e.getMessage());
        }
    }
}
