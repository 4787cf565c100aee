package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.RopeKernel;
import jlora.runtime.tensor.Tensor;

final class CudaRope implements RopeKernel {
    private final CudaKernels kernels;

    CudaRope(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void table(Tensor table, Tensor positions, Tensor inverseFrequencies, float scaling) {
        throw new UnsupportedOperationException("Rope.table on CUDA");
    }

    @Override
    public void forward(Tensor out, Tensor qkv, Tensor table, AttentionShape shape) {
        throw new UnsupportedOperationException("Rope.forward on CUDA");
    }

    @Override
    public void backward(Tensor dQkv, Tensor dOut, Tensor table, AttentionShape shape) {
        throw new UnsupportedOperationException("Rope.backward on CUDA");
    }
}
