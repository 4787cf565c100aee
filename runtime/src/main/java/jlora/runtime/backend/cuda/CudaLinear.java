package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/** {@link LinearKernel} by the backend's matrix products; sums of columns by {@code linear.cu}. */
final class CudaLinear implements LinearKernel {
    private static final int THREADS = 256;
    private static final int WARP = 32;

    /** Rows that a block sums at least, each of its 8 warps some. */
    private static final long ROWS_PER_BLOCK = 32;

    private static final int BLOCKS_PER_MULTIPROCESSOR = 4;

    private final CudaKernels kernels;
    private final CudaProducts products;

    CudaLinear(CudaKernels kernels, CudaProducts products) {
        this.kernels = kernels;
        this.products = products;
    }

    @Override
    public void forward(Tensor out, Tensor x, Tensor weight, Optional<Tensor> bias) {
        products.multiply(out, Factor.plain(x), Factor.transposed(weight), bias);
    }

    @Override
    public void backwardInput(Grad dx, Tensor dOut, Tensor weight) {
        products.multiply(
                dx.tensor(), Factor.plain(dOut), Factor.plain(weight), 1f, dx.accumulate());
    }

    @Override
    public void backwardWeight(Grad dWeight, Tensor dOut, Tensor x, float scale) {
        products.multiply(
                dWeight.tensor(),
                Factor.transposed(dOut),
                Factor.plain(x),
                scale,
                dWeight.accumulate());
    }

    @Override
    public void backwardBias(Grad dBias, Tensor dOut) {
        if (dOut.cols() == 0) {
            return;
        }
        boolean packs = CudaKernels.aligned(dOut);
        long width = WARP * (packs ? 16L / dOut.dtype().bytes() : 1);
        long across = Math.ceilDiv(dOut.cols(), width);
        long parts = parts(dOut, across);
        long rowsPerBlock = Math.ceilDiv(dOut.rows(), parts);
        long scratch = kernels.scratch(parts * dOut.cols() * DType.F32.bytes());
        kernels.call("linear_column_sums" + (packs ? "" : "_scalar"), dOut.dtype())
                .pointer(scratch)
                .tensor(dOut)
                .i64(dOut.stride())
                .i64(dOut.rows())
                .i32(dOut.cols())
                .i32(rowsPerBlock)
                .launch(LaunchShape.of(across, parts, 1, THREADS));
        kernels.call("linear_column_sums_finish")
                .tensor(dBias.tensor())
                .pointer(scratch)
                .i32(dOut.cols())
                .i32(parts)
                .i32(dBias.accumulate() ? 1 : 0)
                .launch(LaunchShape.of(Math.ceilDiv(dOut.cols(), (long) THREADS), THREADS));
    }

    /**
     * Into how many parts the rows are split: enough to fill the device, few enough for scratch.
     */
    private long parts(Tensor dOut, long across) {
        long fill = (long) BLOCKS_PER_MULTIPROCESSOR * kernels.device().multiprocessors() / across;
        long fit = CudaKernels.SCRATCH_BYTES / (dOut.cols() * DType.F32.bytes());
        long most = Math.min(Math.min(fill, fit), LaunchShape.MAX_GRID_YZ);
        return Math.clamp(Math.ceilDiv(dOut.rows(), ROWS_PER_BLOCK), 1, Math.max(1, most));
    }
}
