package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.RmsNormKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

final class CudaRmsNorm implements RmsNormKernel {
    private final CudaKernels kernels;

    CudaRmsNorm(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(
            Tensor out,
            Tensor rstd,
            Optional<Tensor> sum,
            Tensor x,
            Optional<Tensor> residual,
            Tensor weight,
            float eps) {
        throw new UnsupportedOperationException("RmsNorm.forward on CUDA");
    }

    @Override
    public void backward(
            Tensor dx,
            Optional<Grad> dWeight,
            Tensor dOut,
            Optional<Tensor> dSum,
            Tensor sum,
            Tensor weight,
            Tensor rstd) {
        throw new UnsupportedOperationException("RmsNorm.backward on CUDA");
    }
}
