package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.tensor.Tensor;

final class CudaGelu implements GeluKernel {
    private final CudaKernels kernels;

    CudaGelu(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(Tensor out, Tensor x, Form form) {
        throw new UnsupportedOperationException("Gelu.forward on CUDA");
    }

    @Override
    public void backward(Tensor dx, Tensor dOut, Tensor x, Form form) {
        throw new UnsupportedOperationException("Gelu.backward on CUDA");
    }
}
