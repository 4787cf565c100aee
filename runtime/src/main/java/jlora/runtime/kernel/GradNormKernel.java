package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

/**
 * The global L2 norm of all gradients, and the factor that clips it, as in PyTorch's {@code
 * clip_grad_norm_}.
 */
public interface GradNormKernel {
    /**
     * norm[0] = ‖gradient‖₂, norm[1] = min(1, maxNorm / (norm[0] + 1e-6)), or 1 when maxNorm is 0
     * (no clipping).
     *
     * @param norm f32 [1,2]
     * @param gradient f32 [1,P]
     */
    void forward(Tensor norm, Tensor gradient, float maxNorm);
}
