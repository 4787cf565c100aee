package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.runtime.backend.Backend;
import jlora.runtime.cases.MergeContract;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;

/**
 * Merging and unmerging, to the bit, by the CUDA kernels; and what only a device can run out of.
 */
final class CudaMergeTest {
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

    /** The sample sees one tile, and the pool that follows from it is too small. */
    @Nested
    final class WithPoolsThatFillUp extends OnTheDevice {
        @Override
        protected MergeKernel kernel() {
            return new CudaMerge(backend.launches(), -100_000);
        }
    }
}
