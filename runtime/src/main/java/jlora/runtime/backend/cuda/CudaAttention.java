package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.tensor.Tensor;

final class CudaAttention implements AttentionKernel {
    private final OwnAttention own;

    CudaAttention(CudaKernels kernels) {
        this.own = new OwnAttention(kernels);
    }

    @Override
    public void forward(
            Tensor out, Tensor lse, Tensor qkv, PackedSequences sequences, AttentionShape shape) {
        own.forward(out, lse, qkv, sequences, shape);
    }

    @Override
    public void backward(
            Tensor dQkv,
            Tensor dOut,
            Tensor out,
            Tensor lse,
            Tensor qkv,
            PackedSequences sequences,
            AttentionShape shape) {
        own.backward(dQkv, dOut, out, lse, qkv, sequences, shape);
    }
}
