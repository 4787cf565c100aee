package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

/**
 * How a kernel covers flat f32 buffers (native-kernels, common/flat.cuh): by 16 bytes from the
 * first multiple of 16 on, where all buffers have it at the same element; the rest by elements.
 *
 * @param head elements before the first whole pack
 * @param packs runs of four elements
 */
record FlatSpan(long head, long packs, long count) {
    private static final int THREADS = 256;
    private static final int PACK = 4;
    private static final int BLOCKS_PER_MULTIPROCESSOR = 8;

    static FlatSpan of(Tensor first, Tensor... others) {
        long count = first.cols();
        boolean alike = true;
        requireFlat(first, count);
        for (Tensor other : others) {
            requireFlat(other, count);
            alike &= (other.address() - first.address()) % 16 == 0;
        }
        long head = Math.min(count, Math.floorMod(-first.address(), 16L) / Float.BYTES);
        return alike ? new FlatSpan(head, (count - head) / PACK, count) : new FlatSpan(0, 0, count);
    }

    private static void requireFlat(Tensor tensor, long count) {
        if (tensor.dtype() != DType.F32 || tensor.rows() != 1 || tensor.cols() != count) {
            throw new IllegalArgumentException(
                    tensor.describe() + " is not one row of " + count + " float32");
        }
    }

    /** Blocks that go over the buffers together; their number depends on sizes alone. */
    LaunchShape shape(CudaKernels kernels) {
        long most = (long) kernels.device().multiprocessors() * BLOCKS_PER_MULTIPROCESSOR;
        long threads = Math.max(packs, count - PACK * packs);
        return LaunchShape.of(Math.clamp(Math.ceilDiv(threads, (long) THREADS), 1, most), THREADS);
    }
}
