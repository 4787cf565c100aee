package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.EmbeddingKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

final class CudaEmbedding implements EmbeddingKernel {
    private final CudaKernels kernels;

    CudaEmbedding(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(
            Tensor out,
            Tensor ids,
            Tensor positions,
            Tensor table,
            Optional<Tensor> positionTable) {
        throw new UnsupportedOperationException("Embedding.forward on CUDA");
    }

    @Override
    public void backward(
            Optional<Grad> dTable,
            Optional<Grad> dPositionTable,
            Tensor dOut,
            Tensor ids,
            Tensor positions) {
        throw new UnsupportedOperationException("Embedding.backward on CUDA");
    }
}
