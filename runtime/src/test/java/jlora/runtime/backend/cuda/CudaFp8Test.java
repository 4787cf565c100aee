package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Routine;
import jlora.runtime.cases.Conformance;
import jlora.runtime.cases.OpStems;
import jlora.runtime.kernel.Fp8Kernel;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;

/** What the op cases of fp8 do not show: who multiplies, and when FP8 is refused. */
class CudaFp8Test {
    private static final int NOT_SUPPORTED = 15;
    private static final int IN = 160;
    private static final int OUT = 144;

    private Emulator emulator;
    @TempDir private Path cache;

    @BeforeEach
    void open() {
        emulator = Emulator.open();
    }

    @TestFactory
    Stream<DynamicTest> thePlainKernelAgreesToo() {
        CudaBackend backend = emulator.backend(cache);
        CudaFp8 fp8 = (CudaFp8) backend.kernels().fp8();
        Fp8Kernel plain =
                new Fp8Kernel() {
                    @Override
                    public void requireProducts(Scaling weights) {
                        fp8.requireProducts(weights);
                    }

                    @Override
                    public void quantize(Fp8Matrix to, Tensor from, Optional<Tensor> factors) {
                        fp8.quantize(to, from, factors);
                    }

                    @Override
                    public void transpose(Fp8Matrix to, Fp8Matrix from) {
                        fp8.transpose(to, from);
                    }

                    @Override
                    public void multiply(
                            Tensor out, Fp8Matrix x, Fp8Matrix weight, boolean accumulate) {
                        fp8.plain(out, x, weight, accumulate);
                    }

                    @Override
                    public void dequantize(Tensor to, Fp8Matrix from) {
                        fp8.dequantize(to, from);
                    }
                };
        return Conformance.of(OpStems.FP8, plain, backend).onClose(backend::close);
    }

    @ParameterizedTest
    @EnumSource(names = {"ROW", "BLOCK"})
    void theLibraryMultipliesWhatItTakes(Scaling scaling) {
        try (Run run = new Run(emulator.backend(cache), 16, scaling)) {
            emulator.resetCalls();
            run.products();
            assertTrue(emulator.calls("cublasLtMatmul") >= 2);
            assertEquals(2, run.backend.products().timed());
        }
        // Five tokens suit scales of rows, and not those of blocks.
        try (Run run = new Run(emulator.backend(cache), 5, scaling)) {
            emulator.resetCalls();
            run.products();
            assertEquals(scaling == Scaling.ROW, emulator.calls("cublasLtMatmul") > 0);
        }
    }

    @Test
    void theCacheTellsScalingsApart() throws IOException {
        for (Scaling scaling : List.of(Scaling.ROW, Scaling.BLOCK)) {
            try (Run run = new Run(emulator.backend(cache), 16, scaling)) {
                run.products();
                assertEquals(2, run.backend.products().timed(), scaling + " is not in the cache");
            }
            try (Run run = new Run(emulator.backend(cache), 16, scaling)) {
                run.products();
                assertEquals(0, run.backend.products().timed(), scaling + " is in the cache");
            }
        }
        try (Stream<Path> files = Files.list(cache)) {
            Path file = files.filter(f -> f.toString().endsWith(".txt")).findAny().orElseThrow();
            String text = Files.readString(file);
            String forward = OUT + "x16x" + IN + ",e4m3t/" + IN;
            assertTrue(text.contains(forward + ":rows,e4m3/" + IN + ":rows,bf16"), text);
            assertTrue(text.contains(forward + ":128x128,e4m3/" + IN + ":1x128,bf16"), text);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"ROW", "BLOCK"})
    void aGraphRepeatsTheProducts(Scaling scaling) {
        try (Run run = new Run(emulator.backend(cache), 16, scaling);
                Routine routine = run.backend.routine("products", run::products)) {
            byte[] first = null;
            for (int i = 0; i < 4; i++) {
                run.fill();
                routine.run();
                byte[] result = run.results();
                first = first == null ? result : first;
                assertArrayEquals(first, result, "run " + i);
            }
            assertTrue(routine.nodes() > 0);
        }
    }

    @Test
    void aLibraryThatCannotIsRefusedInOneSentence() {
        try (CudaBackend backend = emulator.backend(cache)) {
            Fp8Kernel fp8 = backend.kernels().fp8();
            try {
                emulator.fail("cublasLtMatmulAlgoGetHeuristic", 1, NOT_SUPPORTED);
                assertRefused(() -> fp8.requireProducts(Scaling.BLOCK), "cublasLt-");
            } finally {
                emulator.fail("", 0, 0);
            }
            fp8.requireProducts(Scaling.BLOCK);
            fp8.requireProducts(Scaling.ROW);
            fp8.requireProducts(Scaling.NONE);
        }
    }

    @Test
    void jcudaIsRefusedInOneSentence() {
        try (CudaBackend backend = emulator.backend(CudaBinding.JCUDA, cache)) {
            Fp8Kernel fp8 = backend.kernels().fp8();
            assertRefused(() -> fp8.requireProducts(Scaling.ROW), "jcublas-");
            // Nor is anything multiplied by the slow kernel instead.
            Run run = new Run(backend, 16, Scaling.ROW);
            try {
                assertRefused(run::products, "cuda_binding: panama");
            } finally {
                run.free();
            }
        }
    }

    private static void assertRefused(Runnable call, String word) {
        JloraException failure = assertThrows(JloraException.class, call::run);
        String sentence = failure.getMessage();
        assertEquals(ExitCode.USAGE, failure.exitCode());
        assertTrue(sentence.startsWith("weight_dtype: fp8 "), sentence);
        assertTrue(sentence.contains(word), sentence);
        assertTrue(sentence.contains("(sm_90)"), sentence);
        assertTrue(
                sentence.endsWith("leave weight_dtype out, or set load_in_4bit: true"), sentence);
    }

    /** A weight, its transpose and activations, and both products added to results. */
    private static final class Run implements AutoCloseable {
        final CudaBackend backend;
        final Fp8Matrix weight;
        final Fp8Matrix transposed;
        final Tensor x;
        final Tensor dy;
        final Fp8Matrix x8;
        final Fp8Matrix dy8;
        final Tensor y;
        final Tensor dx;
        private final List<MemoryArena> arenas = new ArrayList<>();

        Run(CudaBackend backend, int tokens, Scaling scaling) {
            this.backend = backend;
            weight = matrix(OUT, IN, scaling);
            transposed = matrix(IN, OUT, scaling.ofTranspose());
            x = tensor("x", DType.BF16, tokens, IN);
            dy = tensor("dy", DType.BF16, tokens, OUT);
            x8 = matrix(tokens, IN, scaling.ofActivations());
            dy8 = matrix(tokens, OUT, scaling.ofActivations());
            y = tensor("y", DType.BF16, tokens, OUT);
            dx = tensor("dx", DType.BF16, tokens, IN);
            Tensor source = tensor("source", DType.F32, OUT, IN);
            upload(source, 1);
            backend.kernels().fp8().quantize(weight, source, Optional.empty());
            fill();
        }

        private Fp8Matrix matrix(long rows, long cols, Scaling scaling) {
            return Fp8Matrix.allocate(rows, cols, scaling, this::tensor);
        }

        private Tensor tensor(String name, DType dtype, long rows, long cols) {
            Tensor tensor = Tensor.dense(name, Storage.Role.WORKSPACE, dtype, rows, cols);
            MemoryArena arena = backend.allocate(name, tensor.storage().bytes());
            arena.place(tensor.storage(), 0);
            arenas.add(arena);
            return tensor;
        }

        void fill() {
            upload(x, 2);
            upload(dy, 3);
            upload(y, 4);
            upload(dx, 5);
        }

        private void upload(Tensor to, int seed) {
            Random random = new Random(seed);
            int count = (int) to.elements();
            if (to.dtype() == DType.F32) {
                float[] values = new float[count];
                for (int i = 0; i < count; i++) {
                    values[i] = (float) random.nextGaussian();
                }
                backend.upload(to, MemorySegment.ofArray(values));
            } else {
                short[] values = new short[count];
                for (int i = 0; i < count; i++) {
                    float value = (float) random.nextGaussian();
                    values[i] = (short) (Float.floatToRawIntBits(value) >>> 16);
                }
                backend.upload(to, MemorySegment.ofArray(values));
            }
        }

        void products() {
            Fp8Kernel fp8 = backend.kernels().fp8();
            boolean rows = weight.scaling() == Scaling.ROW;
            fp8.quantize(x8, x, Optional.empty());
            fp8.multiply(y, x8, weight, true);
            fp8.transpose(transposed, weight);
            fp8.quantize(dy8, dy, weight.scales().filter(_ -> rows));
            fp8.multiply(dx, dy8, transposed, true);
        }

        byte[] results() {
            byte[] all = new byte[(int) (2 * (y.elements() + dx.elements()))];
            MemorySegment to = MemorySegment.ofArray(all);
            backend.download(to, y);
            backend.download(to.asSlice(2 * y.elements()), dx);
            return all;
        }

        void free() {
            arenas.forEach(MemoryArena::close);
        }

        @Override
        public void close() {
            free();
            backend.close();
        }
    }
}
