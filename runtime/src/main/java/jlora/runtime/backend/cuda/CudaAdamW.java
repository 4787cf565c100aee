package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.tensor.Tensor;

final class CudaAdamW implements AdamWKernel {
    private final CudaKernels kernels;

    CudaAdamW(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void update(
            Tensor master,
            Tensor gradient,
            Tensor m,
            Tensor v,
            Tensor schedule,
            Tensor norm,
            Settings settings) {
        throw new UnsupportedOperationException("AdamW.update on CUDA");
    }
}
