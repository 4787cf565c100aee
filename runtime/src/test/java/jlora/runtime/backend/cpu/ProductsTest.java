package jlora.runtime.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.cpu.Products.Operand;
import jlora.runtime.backend.cpu.Products.Product;
import jlora.runtime.tensor.DType;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.stream.Stream;

/** Every implementation of products agrees with the definition. */
final class ProductsTest {
    private static final Products PLAIN = new PlainProducts();
    private static final Products ONEDNN = OneDnnProducts.open();
    private static final Products VECTOR = new VectorProducts();

    /** Odd sizes, single rows and columns, and more than one block in each direction. */
    private static final int[][] SHAPES = {
        {1, 1, 1},
        {5, 3, 7},
        {1, 33, 130},
        {130, 1, 33},
        {33, 65, 1},
        {12, 32, 256},
        {13, 17, 257},
        {300, 70, 40},
        {7, 1100, 20},
        {40, 48, 600},
        {15, 1024, 260},
        {244, 5, 256},
        {64, 16, 300},
        {16, 200, 64},
        {6, 9, 0}
    };

    @AfterAll
    static void close() {
        ONEDNN.close();
        VECTOR.close();
    }

    static Stream<Arguments> products() {
        List<Arguments> all = new ArrayList<>();
        Random random = new Random(11);
        for (Products products : List.of(ONEDNN, VECTOR)) {
            for (int[] shape : SHAPES) {
                for (int flags = 0; flags < 8; flags++) {
                    DType type = random.nextBoolean() ? DType.F32 : DType.BF16;
                    DType result = random.nextBoolean() ? DType.F32 : type;
                    all.add(
                            Arguments.of(
                                    products,
                                    new Case(
                                            shape[0],
                                            shape[1],
                                            shape[2],
                                            type,
                                            result,
                                            (flags & 1) != 0,
                                            (flags & 2) != 0,
                                            (flags & 4) != 0,
                                            random.nextBoolean(),
                                            random.nextBoolean(),
                                            random.nextLong())));
                }
            }
        }
        return all.stream();
    }

    private record Case(
            int m,
            int n,
            int k,
            DType type,
            DType result,
            boolean aTransposed,
            boolean bTransposed,
            boolean accumulate,
            boolean recurring,
            boolean bias,
            long seed) {
        Product product(Arena arena) {
            Random random = new Random(seed);
            boolean hasBias = bias && !accumulate;
            return new Product(
                    m,
                    n,
                    k,
                    hasBias ? 1f : 0.75f,
                    type,
                    operand(
                            arena,
                            aTransposed ? k : m,
                            aTransposed ? m : k,
                            type,
                            random,
                            aTransposed),
                    operand(
                            arena,
                            bTransposed ? n : k,
                            bTransposed ? k : n,
                            type,
                            random,
                            bTransposed),
                    hasBias
                            ? Optional.of(operand(arena, 1, n, type, random, false))
                            : Optional.empty(),
                    accumulate,
                    result,
                    operand(arena, m, n, result, random, false),
                    recurring);
        }

        /** Normal values with a gap behind each row; the gap holds values as well. */
        private static Operand operand(
                Arena arena, int rows, int cols, DType type, Random random, boolean transposed) {
            int stride = cols + random.nextInt(9);
            int first = random.nextInt(5);
            int count = first + Math.max(1, rows) * Math.max(1, stride);
            MemorySegment segment = arena.allocate((long) count * type.bytes(), 64);
            float[] values = new float[VectorMath.padded(count)];
            for (int i = 0; i < count; i++) {
                values[i] = (float) random.nextGaussian();
            }
            Rows.store(segment, type, 0, values, 0, count);
            return new Operand(
                    segment, (long) first * type.bytes(), Math.max(1, stride), transposed);
        }
    }

    @ParameterizedTest(autoCloseArguments = false)
    @MethodSource("products")
    void agreeWithTheDefinitionAndKeepToTheResult(Products products, Case c) {
        try (Arena arena = Arena.ofConfined()) {
            Product expected = c.product(arena);
            Product actual = c.product(arena);
            PLAIN.multiply(expected);
            products.multiply(actual);
            float[] want = all(expected.c().segment(), c.result);
            float[] got = all(actual.c().segment(), c.result);
            double rounding = c.result == DType.BF16 ? 0x1p-7 : 0x1p-23;
            // Factors are normal, so the k terms that round on the way are about 1 each.
            double sum = 0x1p-21 * (c.k + 1);
            for (int i = 0; i < want.length; i++) {
                double limit = rounding * Math.abs(want[i]) + sum;
                assertEquals(want[i], got[i], limit, "element " + i + " of the result's memory");
            }
        }
    }

    @Test
    void haveTheSameBitsOnEveryThread() throws Exception {
        Case c = new Case(64, 96, 80, DType.BF16, DType.F32, false, true, false, true, false, 3);
        try (Arena arena = Arena.ofShared();
                var executor = Executors.newFixedThreadPool(4)) {
            Product expected = c.product(arena);
            ONEDNN.multiply(expected);
            List<Callable<float[]>> calls = new ArrayList<>();
            for (int i = 0; i < 64; i++) {
                Product product = c.product(arena);
                calls.add(
                        () -> {
                            ONEDNN.multiply(product);
                            return all(product.c().segment(), c.result);
                        });
            }
            float[] want = all(expected.c().segment(), c.result);
            for (var got : executor.invokeAll(calls)) {
                assertTrue(Arrays.equals(want, got.get()));
            }
        }
    }

    @Test
    void ofManyShapesKeepFewPreparedOnes() {
        try (Arena arena = Arena.ofConfined();
                Products products = OneDnnProducts.open()) {
            for (int m = 1; m <= 300; m++) {
                Case c =
                        new Case(
                                m, 2, 3, DType.BF16, DType.F32, false, true, false, true, false, m);
                Product expected = c.product(arena);
                Product actual = c.product(arena);
                PLAIN.multiply(expected);
                products.multiply(actual);
                float[] want = all(expected.c().segment(), c.result);
                float[] got = all(actual.c().segment(), c.result);
                for (int i = 0; i < want.length; i++) {
                    assertEquals(want[i], got[i], 1e-4, m + " rows, element " + i);
                }
            }
        }
    }

    @Test
    void areAnErrorOnceClosed() {
        Products products = OneDnnProducts.open();
        products.close();
        products.close();
        Case c = new Case(2, 2, 2, DType.F32, DType.F32, false, false, false, false, false, 1);
        try (Arena arena = Arena.ofConfined()) {
            Product product = c.product(arena);
            assertThrows(IllegalStateException.class, () -> products.multiply(product));
        }
    }

    @Test
    void sayWhichOneDnnCallFailedForWhat() {
        OneDnn.check("dnnl_sgemm", "[2, 3]", 0);
        var failure =
                assertThrows(OneDnnException.class, () -> OneDnn.check("dnnl_sgemm", "[2, 3]", 2));
        assertEquals(
                "oneDNN's dnnl_sgemm failed for [2, 3]: invalid arguments (status 2)",
                failure.getMessage());
    }

    private static float[] all(MemorySegment segment, DType type) {
        int count = (int) (segment.byteSize() / type.bytes());
        float[] values = new float[VectorMath.padded(count)];
        Rows.load(values, 0, segment, type, 0, count);
        return Arrays.copyOf(values, count);
    }
}
