package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

/**
 * How an element-wise kernel covers a matrix (native-kernels, common/rows.cuh): a thread keeps one
 * pack of columns, 16 bytes where all rows are aligned and else one element, and goes down the
 * rows.
 *
 * @param pack columns that a thread keeps
 */
record PackedRows(long rows, long cols, DType dtype, int pack) {
    private static final int THREADS = 256;

    /** Blocks of 256 threads that a multiprocessor holds, times rounds of them. */
    private static final int BLOCKS_PER_MULTIPROCESSOR = 8 * 4;

    /** Over tensors of one storage type, each of them read or written by the same packs. */
    static PackedRows of(long rows, long cols, Tensor first, Tensor... others) {
        boolean aligned = CudaKernels.aligned(first) && CudaKernels.aligned(others);
        return of(rows, cols, aligned, first, others);
    }

    /**
     * @param aligned whether rows may be taken by 16 bytes, as far as the tensors are concerned
     */
    static PackedRows of(long rows, long cols, boolean aligned, Tensor first, Tensor... others) {
        for (Tensor other : others) {
            if (other.dtype() != first.dtype()) {
                throw new IllegalArgumentException(
                        first.describe() + " and " + other.describe() + " differ in type");
            }
        }
        int whole = 16 / first.dtype().bytes();
        return new PackedRows(rows, cols, first.dtype(), aligned && cols % whole == 0 ? whole : 1);
    }

    /** The ending of the kernel's name. */
    String suffix() {
        return CudaKernels.suffix(dtype) + (pack == 1 ? "_scalar" : "");
    }

    /** Starts the kernel, unless there is nothing to do. */
    void launch(CudaKernels kernels, CudaKernels.Call call) {
        if (rows > 0 && cols > 0) {
            call.launch(shape(kernels.device().multiprocessors()));
        }
    }

    /** Threads along a row in x, over rows in y. */
    LaunchShape shape(int multiprocessors) {
        long packs = Math.ceilDiv(cols, pack);
        long gridX = Math.ceilDiv(packs, (long) THREADS);
        int blockX = across(Math.ceilDiv(packs, gridX));
        int blockY = Math.max(1, THREADS / blockX);
        long most = Math.max(1, (long) multiprocessors * BLOCKS_PER_MULTIPROCESSOR / gridX);
        long gridY =
                Math.min(
                        Math.ceilDiv(rows, (long) blockY), Math.min(most, LaunchShape.MAX_GRID_YZ));
        return new LaunchShape(
                Math.toIntExact(gridX), Math.toIntExact(gridY), 1, blockX, blockY, 1, 0);
    }

    /** Whole warps for long rows; short rows share a warp. */
    private static int across(long packs) {
        return packs >= 32
                ? (int) (Math.ceilDiv(packs, 32L) * 32)
                : Integer.highestOneBit((int) (2 * packs - 1));
    }
}
