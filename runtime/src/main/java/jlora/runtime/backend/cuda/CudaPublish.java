package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.kernel.PublishKernel;

import java.util.List;

/** {@link PublishKernel} by publish.cu: one launch for all copies. */
final class CudaPublish implements PublishKernel {
    private static final int THREADS = 256;
    private static final int PACK = 4;
    private static final int BLOCKS_PER_MULTIPROCESSOR = 8;

    private final CudaKernels kernels;

    CudaPublish(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void publish(List<Copy> copies) {
        long elements = copies.stream().mapToLong(copy -> copy.from().elements()).sum();
        if (elements == 0) {
            return;
        }
        long most = (long) kernels.device().multiprocessors() * BLOCKS_PER_MULTIPROCESSOR;
        long blocks = Math.ceilDiv(elements, (long) PACK * THREADS);
        kernels.call("publish_copies")
                .pointer(kernels.tables().address(CopyTable.consecutive(copies)))
                .i32(copies.size())
                .i64(elements)
                .launch(LaunchShape.of(Math.min(blocks, most), THREADS));
    }
}
