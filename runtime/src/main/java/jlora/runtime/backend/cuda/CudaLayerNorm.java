package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.LayerNormKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

final class CudaLayerNorm implements LayerNormKernel {
    private final CudaKernels kernels;

    CudaLayerNorm(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(
            Tensor out,
            Tensor stats,
            Optional<Tensor> sum,
            Tensor x,
            Optional<Tensor> residual,
            Tensor weight,
            Tensor bias,
            float eps) {
        throw new UnsupportedOperationException("LayerNorm.forward on CUDA");
    }

    @Override
    public void backward(
            Tensor dx,
            Optional<Grad> dWeight,
            Optional<Grad> dBias,
            Tensor dOut,
            Optional<Tensor> dSum,
            Tensor sum,
            Tensor weight,
            Tensor stats) {
        throw new UnsupportedOperationException("LayerNorm.backward on CUDA");
    }
}
