package jlora.runtime.backend.cpu;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.cases.MergeContract;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Nested;

/** Merging and unmerging, to the bit, on one thread and on several. */
final class CpuMergeTest {
    private static final CpuPool ONE = new CpuPool(1);
    private static final CpuPool THREE = new CpuPool(3);
    private static final Backend HOST = new ReferenceBackend();

    @AfterAll
    static void close() {
        ONE.close();
        THREE.close();
        HOST.close();
    }

    private abstract static class OnTheHost extends MergeContract {
        private final MergeKernel kernel;

        OnTheHost(MergeKernel kernel) {
            this.kernel = kernel;
        }

        @Override
        protected MergeKernel kernel() {
            return kernel;
        }

        @Override
        protected Backend memory() {
            return HOST;
        }

        @Override
        protected int cycles() {
            return 600;
        }

        /** Where nothing else pays, the weights and where each rectangle's begin. */
        @Override
        protected long mostBytes(Tensor w) {
            return w.elements() * w.dtype().bytes() + 1024;
        }
    }

    @Nested
    final class OneThread extends OnTheHost {
        OneThread() {
            super(new CpuMerge(ONE));
        }
    }

    @Nested
    final class SeveralThreads extends OnTheHost {
        SeveralThreads() {
            super(new CpuMerge(THREE));
        }
    }
}
