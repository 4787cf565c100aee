package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.cases.MergeContract;
import jlora.runtime.cases.MergeMatrices;
import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.List;

/**
 * Merging and unmerging, to the bit, by the CUDA kernels; and what only a device can run out of.
 */
final class CudaMergeTest {
    /** A few records of a tile. */
    private static final long SMALL_POOL = 5000;

    private static Emulator emulator;
    private static CudaBackend backend;

    @BeforeAll
    static void open() {
        emulator = Emulator.open();
        backend = emulator.backend();
    }

    @AfterAll
    static void close() {
        if (backend != null) {
            backend.close();
            assertEquals("", emulator.brokenGuards());
        }
    }

    private abstract static class OnTheDevice extends MergeContract {
        @Override
        protected Backend memory() {
            return backend;
        }

        @Override
        protected int cycles() {
            return 12;
        }

        /** Copies are of whole tiles. */
        @Override
        protected long mostBytes(Tensor w) {
            return CudaCorrections.tiles(w) * 8 * (4096 + 8);
        }
    }

    @Nested
    final class WithSpaceForTheRecords extends OnTheDevice {
        @Override
        protected MergeKernel kernel() {
            return backend.kernels().merge();
        }
    }

    /** Some tiles find space, the others wait for the next pool. */
    @Nested
    final class WithPoolsThatFillUp extends OnTheDevice {
        @Override
        protected MergeKernel kernel() {
            return smallPools();
        }
    }

    private static MergeKernel smallPools() {
        return new CudaMerge(backend.launches(), likely -> SMALL_POOL);
    }

    /** A weight of which the sample sees one tile of six. */
    private static MergeMatrices sixTiles() {
        return new MergeMatrices(backend, DType.BF16, 128, 768, 16, 0);
    }

    @Test
    void aPoolThatIsFullIsFollowedByOneThatIsNot() {
        try (MergeMatrices m = sixTiles()) {
            m.fillNormal(1, 0.02, 1e-3);
            for (boolean small : new boolean[] {false, true}) {
                emulator.resetCalls();
                (small ? smallPools() : backend.kernels().merge())
                        .merge(List.of(m.part()))
                        .orElseThrow()
                        .close();
                assertEquals(small ? 2 : 1, emulator.calls("cuMemAlloc"));
            }
        }
    }

    @Test
    void weightsAreWhatTheyWereWhenMemoryForRecordsIsMissing() {
        final int outOfMemory = 2;
        try (MergeMatrices m = sixTiles();
                MergeMatrices second = sixTiles()) {
            m.fillNormal(1, 0.02, 1e-3);
            second.fillNormal(2, 0.02, 0.02);
            List<byte[]> before = List.of(m.bytes(), second.bytes());
            Emulator.Live live = emulator.live();
            for (int allocation = 1; allocation <= 2; allocation++) {
                MergeKernel kernel = smallPools(); // the second is asked for by a half-merged model
                emulator.fail("cuMemAlloc", allocation, outOfMemory);
                assertThrows(
                        RuntimeException.class,
                        () -> kernel.merge(List.of(m.part(), second.part())));
                emulator.fail("", 0, 0);
                assertArrayEquals(before.get(0), m.bytes(), "allocation " + allocation);
                assertArrayEquals(before.get(1), second.bytes(), "allocation " + allocation);
                assertEquals(live, emulator.live(), "allocation " + allocation);
            }
        }
    }

    /**
     * σ(BA) of ordinary adapters, and what their records may take of the weights' bytes: entries of
     * a byte cost what the CPU's do, tables of tiles a percent more.
     */
    @ParameterizedTest
    @CsvSource({"1e-4, 0.02", "3e-4, 0.027", "1e-3, 0.043", "3e-3, 0.074"})
    void recordsOfOrdinaryAdaptersAreSmall(double sigma, double share) {
        try (Backend host = new ReferenceBackend();
                MergeMatrices m = new MergeMatrices(backend, DType.BF16, 256, 1024, 16, 0);
                MergeMatrices same = new MergeMatrices(host, DType.BF16, 256, 1024, 16, 0)) {
            m.fillNormal(3, 0.02, sigma);
            same.fillNormal(3, 0.02, sigma);
            Corrections.Matrix cpu = merged(new CpuBackend(CpuOptions.defaults()), same);
            Corrections.Matrix cuda = only(backend.kernels().merge(), m);
            assertEquals(cpu.corrected(), cuda.corrected());
            assertEquals(Corrections.Kind.SPARSE, cuda.kind());
            double weights = 2.0 * 256 * 1024;
            assertTrue(cuda.bytes() <= share * weights, cuda + " for " + weights);
            assertTrue(cuda.bytes() <= cpu.bytes() + 0.014 * weights, cuda + " beside " + cpu);
        }
    }

    private static Corrections.Matrix merged(Backend cpu, MergeMatrices m) {
        try (cpu) {
            return only(cpu.kernels().merge(), m);
        }
    }

    private static Corrections.Matrix only(MergeKernel kernel, MergeMatrices m) {
        try (Corrections corrections = kernel.merge(List.of(m.part())).orElseThrow()) {
            return corrections.matrices().getFirst();
        }
    }
}
