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
import jlora.cu.jcuda.JcublasMatmul;
import jlora.cu.jcuda.JcudaDriver;
import jlora.cu.sys.CudaDriverApi;
import jlora.cu.sys.PanamaCudaDriver;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
        try (MatmulOperands on = new MatmulOperands(context, shape)) {
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
                        try (MatmulOperands on = new MatmulOperands(context, shape)) {
                            PreparedMatmul product =
                                    products.prepare(
                                                    shape, products.algorithms(shape, 1).getFirst())
                                            .orElseThrow();
                            on.fillD();
                            on.stream.beginCapture();
                            product.run(on.arguments(), on.stream);
                            try (CudaGraph graph = on.stream.endCapture("product")) {
                                // A product outside it, in another stream, changes nothing in it.
                                try (MatmulOperands others = new MatmulOperands(context, shape)) {
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
}
