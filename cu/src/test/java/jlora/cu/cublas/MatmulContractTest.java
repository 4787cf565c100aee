package jlora.cu.cublas;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import jlora.cu.CudaLibraries;
import jlora.cu.MissingLibraryException;
import jlora.cu.cublas.MatmulShape.Matrix;
import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaDriver;
import jlora.cu.driver.CudaGraph;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.DeviceBuffer;
import jlora.cu.driver.PinnedBuffer;
import jlora.cu.jcuda.JcublasMatmul;
import jlora.cu.jcuda.JcudaDriver;
import jlora.cu.sys.CudaDriverApi;
import jlora.cu.sys.PanamaCudaDriver;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.function.BiConsumer;

/**
 * What every provider of matrix products has to do, on the emulator that native-kernels builds;
 * skipped where it could not be built.
 */
class MatmulContractTest {
    private static final Path EMULATOR =
            Path.of("../native-kernels/target/emulator").toAbsolutePath().normalize();

    /** Elements from the end of a column to the next one's begin. */
    private static final int PAD = 3;

    private static final float ALPHA = 0.5f;

    enum Provider {
        CUBLAS_LT,
        JCUBLAS;

        CudaDriverApi driver(CudaLibraries libraries) {
            return this == CUBLAS_LT
                    ? new PanamaCudaDriver(libraries.driver().symbols())
                    : JcudaDriver.open(libraries.driver());
        }

        MatmulApi open(CudaLibraries libraries, CudaContext context) {
            return this == CUBLAS_LT
                    ? CublasLtMatmul.open(libraries.cublasLt(context.driver().version()), context)
                    : JcublasMatmul.open(libraries, context);
        }
    }

    /** What becomes of D beside the product. */
    enum Mode {
        OVERWRITE,
        ADD,
        BIAS
    }

    private static void with(Provider provider, BiConsumer<CudaContext, MatmulApi> body) {
        assumeTrue(
                Files.exists(EMULATOR.resolve("libcublas.so.12")),
                "no emulator in " + EMULATOR + ": build native-kernels with g++");
        CudaLibraries libraries = CudaLibraries.in(EMULATOR);
        try (CudaContext context =
                CudaContext.open(CudaDriver.init(provider.driver(libraries)), 0)) {
            long free = context.memory().free();
            try (MatmulApi products = provider.open(libraries, context)) {
                assertEquals(
                        CublasLtMatmul.WORKSPACE_BYTES,
                        free - context.memory().free(),
                        4096,
                        "what plans reserve is what is held");
                body.accept(context, products);
            }
            assertEquals(free, context.memory().free());
        }
    }

    private static MatmulShape shape(
            int m, int n, int k, boolean ta, boolean tb, MatrixType in, MatrixType out, Mode mode) {
        return new MatmulShape(
                m,
                n,
                k,
                new Matrix(in, ta, (ta ? k : m) + PAD, in.bytes()),
                new Matrix(in, tb, (tb ? n : k) + PAD, in.bytes()),
                new Matrix(out, false, m + PAD, out.bytes()),
                mode == Mode.ADD,
                mode == Mode.BIAS);
    }

    @ParameterizedTest
    @EnumSource
    void multipliesWhateverTheLayout(Provider provider) {
        with(
                provider,
                (context, products) -> {
                    for (int[] size : new int[][] {{1, 1, 1}, {33, 7, 19}, {5, 65, 130}}) {
                        for (int layout = 0; layout < 4; layout++) {
                            for (Mode mode : Mode.values()) {
                                boolean ta = (layout & 1) != 0;
                                boolean tb = (layout & 2) != 0;
                                MatrixType f32 = MatrixType.F32;
                                MatrixType bf16 = MatrixType.BF16;
                                for (MatrixType[] types :
                                        new MatrixType[][] {
                                            {f32, f32}, {bf16, bf16}, {bf16, f32}
                                        }) {
                                    MatmulShape shape =
                                            shape(
                                                    size[0], size[1], size[2], ta, tb, types[0],
                                                    types[1], mode);
                                    assertRight(context, products, shape);
                                }
                            }
                        }
                    }
                });
    }

    @ParameterizedTest
    @EnumSource
    void aBiasReachesEveryColumnOfAWideResult(Provider provider) {
        with(
                provider,
                (context, products) -> {
                    for (MatrixType type : List.of(MatrixType.F32, MatrixType.BF16)) {
                        MatmulShape wide = shape(3, 40_000, 2, true, false, type, type, Mode.BIAS);
                        assertRight(context, products, wide);
                    }
                });
    }

    private static void assertRight(CudaContext context, MatmulApi products, MatmulShape shape) {
        List<MatmulAlgorithm> algorithms = products.algorithms(shape, 8);
        assertFalse(algorithms.isEmpty(), shape::toString);
        try (Operands on = new Operands(context, shape)) {
            for (MatmulAlgorithm algorithm : algorithms) {
                on.fillD();
                products.prepare(shape, algorithm).orElseThrow().run(on.arguments(), on.stream);
                on.assertD(1);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void aGraphRepeatsAProduct(Provider provider) {
        with(
                provider,
                (context, products) -> {
                    for (Mode mode : Mode.values()) {
                        MatmulShape shape =
                                shape(
                                        33,
                                        7,
                                        19,
                                        true,
                                        false,
                                        MatrixType.BF16,
                                        MatrixType.F32,
                                        mode);
                        try (Operands on = new Operands(context, shape)) {
                            PreparedMatmul product =
                                    products.prepare(
                                                    shape, products.algorithms(shape, 1).getFirst())
                                            .orElseThrow();
                            on.fillD();
                            on.stream.beginCapture();
                            product.run(on.arguments(), on.stream);
                            try (CudaGraph graph = on.stream.endCapture("product")) {
                                // A product outside it, in another stream, changes nothing in it.
                                try (Operands others = new Operands(context, shape)) {
                                    others.fillD();
                                    product.run(others.arguments(), others.stream);
                                    others.assertD(1);
                                }
                                graph.launch(on.stream);
                                on.assertD(1);
                                graph.launch(on.stream);
                                on.assertD(2);
                            }
                        }
                    }
                });
    }

    @ParameterizedTest
    @EnumSource
    void whatItDoesNotKnowIsEmpty(Provider provider) {
        with(
                provider,
                (context, products) -> {
                    MatmulShape shape =
                            shape(
                                    8,
                                    8,
                                    8,
                                    false,
                                    false,
                                    MatrixType.F32,
                                    MatrixType.F32,
                                    Mode.OVERWRITE);
                    for (String code : List.of("other", "0".repeat(128))) {
                        assertTrue(
                                products.prepare(shape, new MatmulAlgorithm(code)).isEmpty(), code);
                    }
                    MatmulShape rounded =
                            shape(
                                    8,
                                    8,
                                    8,
                                    false,
                                    false,
                                    MatrixType.F32,
                                    MatrixType.BF16,
                                    Mode.OVERWRITE);
                    assertEquals(List.of(), products.algorithms(rounded, 8));
                });
    }

    /** Every pair of scalings that goes together, and both types of results. */
    @Test
    void fp8MatricesAreScaledAsDocumented() {
        MatrixScaling[][] pairs = {
            {MatrixScaling.OUTER_VECTOR, MatrixScaling.OUTER_VECTOR},
            {MatrixScaling.BLOCK_128, MatrixScaling.VECTOR_128},
            {MatrixScaling.VECTOR_128, MatrixScaling.BLOCK_128},
            {MatrixScaling.VECTOR_128, MatrixScaling.VECTOR_128},
            {MatrixScaling.SCALAR, MatrixScaling.SCALAR},
        };
        with(
                Provider.CUBLAS_LT,
                (context, products) -> {
                    for (MatrixScaling[] pair : pairs) {
                        for (MatrixType out : List.of(MatrixType.BF16, MatrixType.F32)) {
                            for (Mode mode : List.of(Mode.OVERWRITE, Mode.ADD)) {
                                assertRight(
                                        context,
                                        products,
                                        fp8(
                                                144, 132, 272, true, false, pair[0], pair[1], out,
                                                mode));
                            }
                        }
                    }
                });
    }

    @Test
    void fp8ProductsThatHopperHasNotAreNone() {
        MatrixScaling rows = MatrixScaling.OUTER_VECTOR;
        MatrixScaling pieces = MatrixScaling.VECTOR_128;
        MatrixScaling blocks = MatrixScaling.BLOCK_128;
        MatrixType bf16 = MatrixType.BF16;
        with(
                Provider.CUBLAS_LT,
                (context, products) -> {
                    for (MatmulShape shape :
                            List.of(
                                    fp8(16, 16, 16, true, false, blocks, blocks, bf16, Mode.ADD),
                                    fp8(16, 16, 16, true, false, blocks, rows, bf16, Mode.ADD),
                                    fp8(16, 16, 16, false, false, rows, rows, bf16, Mode.ADD),
                                    fp8(16, 16, 16, true, true, rows, rows, bf16, Mode.ADD),
                                    fp8(16, 16, 8, true, false, rows, rows, bf16, Mode.ADD),
                                    fp8(16, 5, 16, true, false, blocks, pieces, bf16, Mode.ADD))) {
                        assertEquals(List.of(), products.algorithms(shape, 8), shape::toString);
                    }
                });
    }

    private static MatmulShape fp8(
            int m,
            int n,
            int k,
            boolean ta,
            boolean tb,
            MatrixScaling ofA,
            MatrixScaling ofB,
            MatrixType out,
            Mode mode) {
        int pad = 16;
        return new MatmulShape(
                m,
                n,
                k,
                new Matrix(MatrixType.E4M3, ta, (ta ? k : m) + pad, 16, ofA),
                new Matrix(MatrixType.E4M3, tb, (tb ? n : k) + pad, 16, ofB),
                new Matrix(out, false, m + pad, 16),
                mode == Mode.ADD,
                mode == Mode.BIAS);
    }

    @Test
    void jcublasRefusesFp8() {
        with(
                Provider.JCUBLAS,
                (context, products) -> {
                    MatmulShape plain =
                            shape(
                                    16,
                                    16,
                                    16,
                                    true,
                                    false,
                                    MatrixType.BF16,
                                    MatrixType.BF16,
                                    Mode.OVERWRITE);
                    MatmulAlgorithm algorithm = products.algorithms(plain, 8).getFirst();
                    for (MatrixType type : List.of(MatrixType.E4M3, MatrixType.E5M2)) {
                        MatmulShape fp8 =
                                shape(
                                        16,
                                        16,
                                        16,
                                        true,
                                        false,
                                        type,
                                        MatrixType.BF16,
                                        Mode.OVERWRITE);
                        assertEquals(List.of(), products.algorithms(fp8, 8));
                        assertTrue(products.prepare(fp8, algorithm).isEmpty());
                    }
                });
    }

    /** As beside CUDA 13, whose cuBLAS has another name. */
    @Test
    void jcublasWithoutItsLibraryNamesItAndTheOtherProvider(@TempDir Path folder)
            throws IOException {
        with(
                Provider.CUBLAS_LT,
                (context, _) -> {
                    long free = context.memory().free();
                    String sentence =
                            assertThrows(
                                            MissingLibraryException.class,
                                            () ->
                                                    JcublasMatmul.open(
                                                            CudaLibraries.in(folder), context))
                                    .getMessage();
                    assertTrue(sentence.contains("libcublas.so.12"), sentence);
                    assertTrue(sentence.contains("cuda_binding: panama"), sentence);
                    assertEquals(free, context.memory().free());
                });
    }

    /** Random matrices of a shape, on the device and here. */
    private static final class Operands implements AutoCloseable {
        final MatmulShape shape;
        final CudaContext context;
        final CudaStream stream;
        final float[] a;
        final float[] b;
        final float[] d;
        final float[] bias;
        final DeviceBuffer onA;
        final DeviceBuffer onB;
        final DeviceBuffer onD;
        final DeviceBuffer onBias;
        final Factors factorsOfA;
        final Factors factorsOfB;

        Operands(CudaContext context, MatmulShape shape) {
            this.shape = shape;
            this.context = context;
            stream = context.stream("products");
            a = numbers(1, shape.a(), shape.a().transposed() ? shape.m() : shape.k());
            b = numbers(2, shape.b(), shape.b().transposed() ? shape.k() : shape.n());
            d = numbers(3, shape.d(), shape.n());
            bias = numbers(4, shape.d(), 1);
            onA = upload("A", shape.a().type(), a);
            onB = upload("B", shape.b().type(), b);
            onD = upload("D", shape.d().type(), d);
            onBias = upload("bias", shape.d().type(), bias);
            factorsOfA = new Factors(this, shape.a(), (int) shape.m(), (int) shape.k());
            factorsOfB = new Factors(this, shape.b(), (int) shape.n(), (int) shape.k());
        }

        /** Which bf16 holds too; FP8 matrices hold small integers. */
        private static float[] numbers(int seed, Matrix matrix, long columns) {
            Random random = new Random(seed);
            float[] values = new float[(int) (matrix.leadingDimension() * columns)];
            for (int i = 0; i < values.length; i++) {
                if (matrix.type() == MatrixType.E4M3) {
                    values[i] = random.nextInt(17) - 8;
                    continue;
                }
                int bits = Float.floatToRawIntBits((float) random.nextGaussian());
                values[i] = Float.intBitsToFloat(bits & 0xffff0000);
            }
            return values;
        }

        private DeviceBuffer upload(String label, MatrixType type, float[] values) {
            DeviceBuffer buffer = context.allocate(label, (long) values.length * type.bytes());
            copyTo(buffer, type, values);
            return buffer;
        }

        private void copyTo(DeviceBuffer buffer, MatrixType type, float[] values) {
            try (PinnedBuffer host = context.allocatePinned("host", buffer.bytes())) {
                for (int i = 0; i < values.length; i++) {
                    if (type == MatrixType.F32) {
                        host.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, values[i]);
                    } else if (type == MatrixType.E4M3) {
                        host.segment().set(ValueLayout.JAVA_BYTE, i, e4m3((int) values[i]));
                    } else {
                        short bits = (short) (Float.floatToRawIntBits(values[i]) >>> 16);
                        host.segment().setAtIndex(ValueLayout.JAVA_SHORT, i, bits);
                    }
                }
                stream.copyToDevice(buffer.address(), host.segment().address(), buffer.bytes());
                stream.synchronize();
            }
        }

        /** The code of an integer up to 8. */
        private static byte e4m3(int value) {
            int magnitude = Math.abs(value);
            if (magnitude == 0) {
                return 0;
            }
            int exponent = 31 - Integer.numberOfLeadingZeros(magnitude);
            int mantissa = (magnitude << 3 >> exponent) - 8;
            return (byte) ((value < 0 ? 0x80 : 0) | exponent + 7 << 3 | mantissa);
        }

        void fillD() {
            copyTo(onD, shape.d().type(), d);
        }

        MatmulArguments arguments() {
            return new MatmulArguments(
                    onA.address(),
                    onB.address(),
                    onD.address(),
                    ALPHA,
                    shape.bias() ? onBias.address() : 0,
                    factorsOfA.address(),
                    factorsOfB.address());
        }

        /** D after the product ran so often, and pads as they were. */
        void assertD(int times) {
            boolean f32 = shape.d().type() == MatrixType.F32;
            try (PinnedBuffer host = context.allocatePinned("host", onD.bytes())) {
                stream.copyToHost(host.segment().address(), onD.address(), onD.bytes());
                stream.synchronize();
                int stride = (int) shape.d().leadingDimension();
                for (int i = 0; i < d.length; i++) {
                    float got =
                            f32
                                    ? host.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i)
                                    : Float.intBitsToFloat(
                                            host.segment().getAtIndex(ValueLayout.JAVA_SHORT, i)
                                                    << 16);
                    int row = i % stride;
                    if (row >= shape.m()) {
                        assertEquals(d[i], got, 0, "a pad of " + shape);
                        continue;
                    }
                    double expected = expected(row, i / stride, times);
                    // f32 sums of terms near one; bf16 rounds the result to 8 bits. FP8 terms reach
                    // hundreds.
                    double least = shape.a().type() == MatrixType.E4M3 ? 2e-3 : 2e-5;
                    double tolerance = f32 ? least * times : 0.004 * Math.abs(expected) + least;
                    assertEquals(
                            expected, got, tolerance, shape + " at " + row + ", " + i / stride);
                }
            }
        }

        private double expected(int row, int column, int times) {
            double sum = 0;
            for (int l = 0; l < shape.k(); l++) {
                sum +=
                        (double) at(a, shape.a(), row, l)
                                * at(b, shape.b(), l, column)
                                * factorsOfA.at(row, l)
                                * factorsOfB.at(column, l);
            }
            return ALPHA * sum * (shape.accumulate() ? times : 1)
                    + (shape.accumulate() ? at(d, shape.d(), row, column) : 0)
                    + (shape.bias() ? bias[row] : 0);
        }

        private static float at(float[] values, Matrix matrix, int row, int column) {
            int stride = (int) matrix.leadingDimension();
            return values[matrix.transposed() ? row * stride + column : column * stride + row];
        }

        @Override
        public void close() {
            List.of(onA, onB, onD, onBias).forEach(DeviceBuffer::close);
            factorsOfA.close();
            factorsOfB.close();
            stream.close();
        }
    }

    /** The factors of one FP8 matrix, laid out as the documentation of cuBLASLt says. */
    private static final class Factors implements AutoCloseable {
        private final MatrixScaling scaling;
        private final int rows;
        private final int blocks;
        private final float[] values;
        private final Optional<DeviceBuffer> buffer;

        /**
         * @param rows those that factors may differ in: m or n
         */
        Factors(Operands operands, Matrix matrix, int rows, int depth) {
            this.scaling = matrix.scaling();
            this.rows = rows;
            this.blocks = Math.ceilDiv(depth, 128);
            int count =
                    switch (scaling) {
                        case SCALAR -> 0;
                        case OUTER_VECTOR -> rows;
                        case VECTOR_128 -> blocks * rows;
                        case BLOCK_128 -> Math.ceilDiv(rows, 128) * stride();
                    };
            values = new float[count];
            for (int i = 0; i < count; i++) {
                values[i] = 0.25f + (i * 7 % 16) / 16f;
            }
            buffer =
                    count == 0
                            ? Optional.empty()
                            : Optional.of(operands.upload("factors", MatrixType.F32, values));
        }

        private int stride() {
            return Math.ceilDiv(blocks, 4) * 4;
        }

        long address() {
            return buffer.map(DeviceBuffer::address).orElse(0L);
        }

        double at(int row, int l) {
            return switch (scaling) {
                case SCALAR -> 1;
                case OUTER_VECTOR -> values[row];
                case VECTOR_128 -> values[l / 128 * rows + row];
                case BLOCK_128 -> values[row / 128 * stride() + l / 128];
            };
        }

        @Override
        public void close() {
            buffer.ifPresent(DeviceBuffer::close);
        }
    }
}
