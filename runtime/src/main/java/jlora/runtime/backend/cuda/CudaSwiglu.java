package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.SwigluKernel;
import jlora.runtime.tensor.Tensor;

final class CudaSwiglu implements SwigluKernel {
    private final CudaKernels kernels;

    CudaSwiglu(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(Tensor out, Tensor gateUp) {
        throw new UnsupportedOperationException("Swiglu.forward on CUDA");
    }

    @Override
    public void backward(Tensor dGateUp, Tensor dOut, Tensor gateUp) {
        throw new UnsupportedOperationException("Swiglu.backward on CUDA");
    }
}
