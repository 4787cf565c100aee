package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.GradNormKernel;
import jlora.runtime.tensor.Tensor;

final class CudaGradNorm implements GradNormKernel {
    private final CudaKernels kernels;

    CudaGradNorm(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(Tensor norm, Tensor gradient, float maxNorm) {
        throw new UnsupportedOperationException("GradNorm.forward on CUDA");
    }
}
