package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.kernel.LowRankBorder.Target;
import jlora.runtime.kernel.LowRankKernel;
import jlora.runtime.tensor.Tensor;

import java.util.List;
import java.util.Optional;

final class CudaLowRank implements LowRankKernel {
    private final CudaKernels kernels;

    CudaLowRank(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(
            Tensor u, Tensor x, LowRankBorder border, Optional<Tensor> adapterOfRow, Tensor rng) {
        throw new UnsupportedOperationException("LowRank.forward on CUDA");
    }

    @Override
    public void backwardOutput(
            Tensor du,
            List<Target> dB,
            Tensor dy,
            Tensor u,
            LowRankBorder border,
            Optional<Tensor> adapterOfRow) {
        throw new UnsupportedOperationException("LowRank.backwardOutput on CUDA");
    }

    @Override
    public void backwardA(List<Target> dA, Tensor du, Tensor x, Tensor rng) {
        throw new UnsupportedOperationException("LowRank.backwardA on CUDA");
    }

    @Override
    public void backwardInputDropout(Tensor dx, Tensor du, LowRankBorder border, Tensor rng) {
        throw new UnsupportedOperationException("LowRank.backwardInputDropout on CUDA");
    }
}
