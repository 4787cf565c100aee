package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.DropoutKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

final class CudaDropout implements DropoutKernel {
    private final CudaKernels kernels;

    CudaDropout(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(Tensor out, Tensor x, float p, Tensor rng, int stream) {
        throw new UnsupportedOperationException("Dropout.forward on CUDA");
    }

    @Override
    public void backward(Grad dx, Tensor dOut, float p, Tensor rng, int stream) {
        throw new UnsupportedOperationException("Dropout.backward on CUDA");
    }
}
