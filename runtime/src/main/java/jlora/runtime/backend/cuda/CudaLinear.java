package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

final class CudaLinear implements LinearKernel {
    private final CudaKernels kernels;

    CudaLinear(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(Tensor out, Tensor x, Tensor weight, Optional<Tensor> bias) {
        throw new UnsupportedOperationException("Linear.forward on CUDA");
    }

    @Override
    public void backwardInput(Grad dx, Tensor dOut, Tensor weight) {
        throw new UnsupportedOperationException("Linear.backwardInput on CUDA");
    }

    @Override
    public void backwardWeight(Grad dWeight, Tensor dOut, Tensor x, float scale) {
        throw new UnsupportedOperationException("Linear.backwardWeight on CUDA");
    }

    @Override
    public void backwardBias(Grad dBias, Tensor dOut) {
        throw new UnsupportedOperationException("Linear.backwardBias on CUDA");
    }
}
