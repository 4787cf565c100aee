package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.CachedAttentionKernel;
import jlora.runtime.tensor.Tensor;

final class CudaCachedAttention implements CachedAttentionKernel {
    private final CudaKernels kernels;

    CudaCachedAttention(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(
            Tensor out,
            Tensor cache,
            Tensor qkv,
            Tensor cuSeqlens,
            Tensor cached,
            AttentionShape shape,
            int capacity) {
        throw new UnsupportedOperationException("CachedAttention.forward on CUDA");
    }
}
