package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.LinearCrossEntropyKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

final class CudaLinearCrossEntropy implements LinearCrossEntropyKernel {
    private final CudaKernels kernels;

    CudaLinearCrossEntropy(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(
            Tensor loss,
            Tensor x,
            Tensor weight,
            Tensor targets,
            Tensor scale,
            float labelSmoothing,
            Workspace workspace) {
        throw new UnsupportedOperationException("LinearCrossEntropy.forward on CUDA");
    }

    @Override
    public void forwardBackward(
            Tensor loss,
            Tensor dx,
            Optional<Grad> dWeight,
            Tensor x,
            Tensor weight,
            Tensor targets,
            Tensor scale,
            float labelSmoothing,
            Workspace workspace) {
        throw new UnsupportedOperationException("LinearCrossEntropy.forwardBackward on CUDA");
    }
}
