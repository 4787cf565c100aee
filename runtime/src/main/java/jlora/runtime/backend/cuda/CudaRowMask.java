package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.RowMaskKernel;
import jlora.runtime.tensor.Tensor;

final class CudaRowMask implements RowMaskKernel {
    private final CudaKernels kernels;

    CudaRowMask(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void apply(Tensor u, Tensor adapterOfRow, int[] adapterOfColumn) {
        throw new UnsupportedOperationException("RowMask.apply on CUDA");
    }
}
