package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

final class CudaAttention implements AttentionKernel {
    private final CudaKernels kernels;

    CudaAttention(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(
            Tensor out,
            Tensor lse,
            Tensor qkv,
            Tensor cuSeqlens,
            Optional<Tensor> keyMask,
            AttentionShape shape) {
        throw new UnsupportedOperationException("Attention.forward on CUDA");
    }

    @Override
    public void backward(
            Tensor dQkv,
            Tensor dOut,
            Tensor out,
            Tensor lse,
            Tensor qkv,
            Tensor cuSeqlens,
            Optional<Tensor> keyMask,
            AttentionShape shape) {
        throw new UnsupportedOperationException("Attention.backward on CUDA");
    }
}
