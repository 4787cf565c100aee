package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.cu.cublas.MatmulAlgorithm;
import jlora.cu.cublas.MatmulShape;
import jlora.cu.driver.DeviceInfo;
import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.ProductTiming;
import jlora.runtime.backend.Routine;
import jlora.runtime.cases.Conformance;
import jlora.runtime.cases.OpStems;
import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;

/** What the op cases of linear do not show: how algorithms are chosen, and the edges of shapes. */
class CudaProductsTest {
    private static final int INTERNAL_ERROR = 14;
    private static final int ROWS = 24;
    private static final int DEPTH = 40;
    private static final int COLS = 16;

    private Emulator emulator;
    @TempDir private Path cache;

    @BeforeEach
    void open() {
        emulator = Emulator.open();
    }

    @TestFactory
    Stream<DynamicTest> thePlainKernelAgreesToo() {
        CudaBackend backend = emulator.backend(cache);
        CudaProducts products = backend.products();
        LinearKernel sums = backend.kernels().linear();
        LinearKernel plain =
                new LinearKernel() {
                    @Override
                    public void forward(Tensor out, Tensor x, Tensor weight, Optional<Tensor> b) {
                        products.plain(
                                out, Factor.plain(x), Factor.transposed(weight), b, 1f, false);
                    }

                    @Override
                    public void backwardInput(Grad dx, Tensor dOut, Tensor weight) {
                        products.plain(
                                dx.tensor(),
                                Factor.plain(dOut),
                                Factor.plain(weight),
                                Optional.empty(),
                                1f,
                                dx.accumulate());
                    }

                    @Override
                    public void backwardWeight(Grad dWeight, Tensor dOut, Tensor x, float scale) {
                        products.plain(
                                dWeight.tensor(),
                                Factor.transposed(dOut),
                                Factor.plain(x),
                                Optional.empty(),
                                scale,
                                dWeight.accumulate());
                    }

                    @Override
                    public void backwardBias(Grad dBias, Tensor dOut) {
                        sums.backwardBias(dBias, dOut);
                    }
                };
        return Conformance.of(OpStems.LINEAR, plain, backend).onClose(backend::close);
    }

    @Test
    void anEmptySumIsTheBiasOrNothing() {
        try (Run run = new Run()) {
            Tensor out = run.filled("out", DType.F32, 3, 4);
            Tensor bias = run.filled("bias", DType.F32, 1, 4);
            Tensor x = run.tensor("x", DType.F32, 3, 0, 8);
            Tensor weight = run.tensor("weight", DType.F32, 4, 0, 8);
            LinearKernel linear = run.backend.kernels().linear();
            byte[] before = run.bytes(out);
            linear.backwardInput(Grad.accumulate(out), x, run.tensor("none", DType.F32, 0, 4, 4));
            assertArrayEquals(before, run.bytes(out));
            linear.forward(out, x, weight, Optional.of(bias));
            for (int row = 0; row < 3; row++) {
                assertArrayEquals(run.bytes(bias), run.bytes(out.rows(row, 1)));
            }
            linear.forward(out, x, weight, Optional.empty());
            assertArrayEquals(new byte[3 * 4 * 4], run.bytes(out));
            assertEquals(0, run.backend.products().timed());
        }
    }

    @Test
    void noRowsGiveZeroGradients() {
        try (Run run = new Run()) {
            Tensor dWeight = run.filled("dWeight", DType.F32, 4, 5);
            Tensor dBias = run.filled("dBias", DType.F32, 1, 4);
            Tensor dOut = run.tensor("dOut", DType.BF16, 0, 4, 4);
            Tensor x = run.tensor("x", DType.BF16, 0, 5, 5);
            LinearKernel linear = run.backend.kernels().linear();
            linear.forward(dOut, x, run.filled("w", DType.BF16, 4, 5), Optional.empty());
            linear.backwardWeight(Grad.overwrite(dWeight), dOut, x, 1);
            linear.backwardBias(Grad.overwrite(dBias), dOut);
            assertArrayEquals(new byte[4 * 5 * 4], run.bytes(dWeight));
            assertArrayEquals(new byte[4 * 4], run.bytes(dBias));
        }
    }

    @Test
    void shapesThatDoNotFitAreRefused() {
        try (Run run = new Run()) {
            Tensor out = run.filled("out", DType.F32, 3, 4);
            Tensor x = run.filled("x", DType.F32, 3, 5);
            Tensor weight = run.filled("weight", DType.BF16, 4, 5);
            LinearKernel linear = run.backend.kernels().linear();
            IllegalArgumentException refused =
                    assertThrows(
                            IllegalArgumentException.class,
                            () -> linear.forward(out, x, weight, Optional.empty()));
            assertTrue(refused.getMessage().contains("weight [4, 5] bfloat16"));
        }
    }

    /** A row-major product is a column-major one of the same memory, transposed. */
    @Test
    void rowsBecomeColumns() {
        try (Run run = new Run()) {
            Tensor out = run.tensor("out", DType.F32, 3, 4, 12);
            Tensor x = run.tensor("x", DType.BF16, 3, 5, 8).columns(1, 5);
            Tensor weight = run.tensor("weight", DType.BF16, 4, 5, 16);
            MatmulShape shape =
                    CudaProducts.shape(
                            out,
                            Factor.plain(x),
                            Factor.transposed(weight),
                            Optional.empty(),
                            false);
            assertEquals("4x3x5,bf16t/16,bf16/8@2,f32/12", shape.toString());
        }
    }

    @Test
    void aSecondRunTakesTheAlgorithmsOfTheFirst() throws IOException {
        byte[] first = step(1);
        String kept = Files.readString(file());
        assertEquals(3, kept.lines().count() - 2);
        assertArrayEquals(first, step(0));
        assertEquals(kept, Files.readString(file()));
    }

    @Test
    void aProductThatAddsIsRightTheFirstTime() {
        try (Run timed = new Run()) {
            byte[] first = timed.step();
            try (Run again = new Run()) {
                assertArrayEquals(first, again.step());
                assertEquals(0, again.backend.products().timed());
            }
        }
    }

    @Test
    void aDamagedCacheIsMadeAnew() throws IOException {
        byte[] first = step(1);
        Files.writeString(file(), "not what it was");
        assertArrayEquals(first, step(1));
        assertArrayEquals(first, step(0));
    }

    /** As after an update of the library that kept its version: codes mean nothing to it. */
    @Test
    void anAlgorithmThatTheLibraryRefusesIsChosenAnew() throws IOException {
        step(1);
        String kept = Files.readString(file());
        AlgorithmCache forged = AlgorithmCache.open(cache, "forged", Run.device(emulator));
        for (String line : kept.lines().skip(2).toList()) {
            String shape = line.split(" ")[0];
            forged.keep(shape, new MatmulAlgorithm("0".repeat(128)), other -> true);
        }
        Path file = file();
        Files.copy(forged.file(), file, StandardCopyOption.REPLACE_EXISTING);
        step(1);
        assertEquals(kept.lines().count(), Files.readString(file).lines().count());
        assertTrue(!Files.readString(file).contains("0".repeat(128)));
    }

    @Test
    void withoutAWritableCacheTheLibrarysFirstProposalIsTaken() throws IOException {
        Path occupied = Files.writeString(cache.resolve("occupied"), "");
        byte[] first;
        try (Run run = new Run(occupied)) {
            first = run.step();
            assertEquals(0, run.backend.products().timed());
            List<String> notes = run.backend.products().notes();
            assertEquals(1, notes.size());
            assertTrue(notes.getFirst().contains("JLORA_CACHE_DIR"), notes.getFirst());
        }
        try (Run run = new Run(occupied)) {
            assertArrayEquals(first, run.step());
        }
    }

    @Test
    void aGraphRepeatsWhatWasChosenBefore() {
        try (Run run = new Run()) {
            byte[] first;
            try (Routine routine = run.backend.routine("step", run::products)) {
                run.fill();
                routine.run();
                first = run.results();
                int timed = run.backend.products().timed();
                for (int again = 0; again < 2; again++) {
                    run.fill();
                    routine.run();
                    assertArrayEquals(first, run.results());
                }
                assertEquals(timed, run.backend.products().timed());
                assertEquals(List.of(), run.backend.products().notes());
            }
        }
    }

    @Test
    void aShapeThatAGraphMeetsFirstIsNotTimed() throws IOException {
        try (Run run = new Run()) {
            List<Runnable> work = new ArrayList<>();
            try (Routine routine = run.backend.routine("step", () -> work.forEach(Runnable::run))) {
                routine.run();
                work.add(run::products);
                run.fill();
                routine.run();
                byte[] captured = run.results();
                assertEquals(0, run.backend.products().timed());
                assertEquals(3, run.backend.products().notes().size());
                assertTrue(run.backend.products().notes().getFirst().contains("graph"));
                assertTrue(Files.notExists(file()));
                // From now on it stays the algorithm of this process.
                run.fill();
                run.products();
                assertArrayEquals(captured, run.results());
                assertEquals(0, run.backend.products().timed());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "cublasLtMatmulDescCreate",
                "cublasLtMatmulDescSetAttribute",
                "cublasLtMatrixLayoutCreate",
                "cublasLtMatmulPreferenceCreate",
                "cublasLtMatmulPreferenceSetAttribute",
                "cublasLtMatmulAlgoGetHeuristic",
                "cublasLtMatmul"
            })
    void aRefusedCallIsNamedAndNothingStays(String call) {
        Emulator.Live before = emulator.live();
        try (Run run = new Run()) {
            run.fill();
            emulator.fail(call, 1, INTERNAL_ERROR);
            JloraException failure = assertThrows(JloraException.class, run::products);
            emulator.fail("", 0, 0);
            assertEquals(ExitCode.GPU_FAULT, failure.exitCode());
            String message = failure.getMessage();
            assertTrue(message.contains(call + " "), message);
            assertTrue(message.contains("CUBLAS_STATUS_INTERNAL_ERROR"), message);
        } finally {
            emulator.fail("", 0, 0);
        }
        assertEquals(before, emulator.live());
    }

    @Test
    void productsAreTimedOnTheDevice() {
        try (CudaBackend backend = emulator.backend(cache)) {
            for (ProductTiming.Product product : ProductTiming.Product.values()) {
                ProductTiming.Shape shape = new ProductTiming.Shape(8, 16, 24, 8, DType.BF16);
                assertTrue(ProductTiming.measure(backend, shape, product).milliseconds() > 0);
            }
            assertEquals(3, backend.products().timed());
        }
    }

    /** Bytes of one step's results, in a process of its own so to say. */
    private byte[] step(int timedPerProduct) {
        try (Run run = new Run()) {
            byte[] results = run.step();
            assertEquals(3 * timedPerProduct, run.backend.products().timed());
            return results;
        }
    }

    private Path file() throws IOException {
        try (Stream<Path> files = Files.list(cache)) {
            return files.filter(file -> file.toString().endsWith(".txt"))
                    .filter(file -> !file.toString().contains("forged"))
                    .findFirst()
                    .orElse(cache.resolve("none"));
        }
    }

    /** A backend with the three products of a linear layer, one of which adds. */
    private final class Run implements AutoCloseable {
        final CudaBackend backend;
        final List<MemoryArena> arenas = new ArrayList<>();
        final Tensor out;
        final Tensor dx;
        final Tensor dWeight;
        final Tensor x;
        final Tensor weight;
        final Tensor dOut;

        Run() {
            this(cache);
        }

        Run(Path folder) {
            backend = emulator.backend(folder);
            x = tensor("x", DType.BF16, ROWS, DEPTH, DEPTH);
            weight = tensor("weight", DType.BF16, COLS, DEPTH, DEPTH);
            dOut = tensor("dOut", DType.BF16, ROWS, COLS, COLS);
            out = tensor("out", DType.BF16, ROWS, COLS, COLS);
            dx = tensor("dx", DType.BF16, ROWS, DEPTH, DEPTH);
            dWeight = tensor("dWeight", DType.F32, COLS, DEPTH, DEPTH);
        }

        static DeviceInfo device(Emulator emulator) {
            try (CudaBackend backend = emulator.backend()) {
                return backend.device();
            }
        }

        byte[] step() {
            fill();
            products();
            return results();
        }

        void fill() {
            for (Tensor tensor : List.of(x, weight, dOut, out, dx, dWeight)) {
                fill(tensor);
            }
        }

        void products() {
            LinearKernel linear = backend.kernels().linear();
            linear.forward(out, x, weight, Optional.empty());
            linear.backwardInput(Grad.overwrite(dx), dOut, weight);
            linear.backwardWeight(Grad.accumulate(dWeight), dOut, x, 0.5f);
        }

        byte[] results() {
            byte[] all = new byte[0];
            for (Tensor tensor : List.of(out, dx, dWeight)) {
                byte[] more = bytes(tensor);
                int at = all.length;
                all = Arrays.copyOf(all, at + more.length);
                System.arraycopy(more, 0, all, at, more.length);
            }
            return all;
        }

        Tensor tensor(String name, DType dtype, long rows, long cols, long stride) {
            long bytes = Math.max(1, rows * stride) * dtype.bytes();
            MemoryArena arena = backend.allocate(name, bytes);
            arenas.add(arena);
            Storage storage = new Storage(name, Storage.Role.WORKSPACE, bytes);
            arena.place(storage, 0);
            return new Tensor(name, storage, dtype, rows, cols, 0, stride);
        }

        Tensor filled(String name, DType dtype, long rows, long cols) {
            Tensor tensor = tensor(name, dtype, rows, cols, cols);
            fill(tensor);
            return tensor;
        }

        private void fill(Tensor tensor) {
            Random random = new Random(tensor.name().hashCode());
            try (Arena arena = Arena.ofConfined()) {
                int bytes = tensor.dtype().bytes();
                MemorySegment values = arena.allocate(tensor.elements() * bytes, 4);
                for (long i = 0; i < tensor.elements(); i++) {
                    int bits = Float.floatToRawIntBits((float) random.nextGaussian());
                    if (tensor.dtype() == DType.BF16) {
                        values.set(ValueLayout.JAVA_SHORT, i * 2, (short) (bits >>> 16));
                    } else {
                        values.set(ValueLayout.JAVA_INT, i * 4, bits);
                    }
                }
                backend.upload(tensor, values);
                backend.synchronize();
            }
        }

        byte[] bytes(Tensor tensor) {
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment to = arena.allocate(tensor.elements() * tensor.dtype().bytes(), 4);
                backend.download(to, tensor);
                backend.synchronize();
                return to.toArray(ValueLayout.JAVA_BYTE);
            }
        }

        @Override
        public void close() {
            arenas.forEach(MemoryArena::close);
            backend.close();
        }
    }
}
