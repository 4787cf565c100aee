package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

/**
 * The global L2 norm of all gradients, and the factor that clips it, as in PyTorch's {@code
 * clip_grad_norm_}; and the count of the updates that a finite norm allows.
 */
public interface GradNormKernel {
    /**
     * norm[0] = ‖gradient‖₂, norm[1] = min(1, maxNorm / (norm[0] + 1e-6)), or 1 when maxNorm is 0
     * (no clipping). Where norm[0] is finite, updates += 1; where it is not, the step counts for
     * nothing: updates stays, {@link AdamWKernel} changes nothing, and norm[1] has no meaning. So
     * the device itself decides, before any host can know.
     *
     * @param norm f32 [1,2]
     * @param updates f32 [1,1]: updates so far, this one included; exact up to 2²⁴, where the
     *     corrections that are formed of it are 1
     * @param gradient f32 [1,P]
     */
    void forward(Tensor norm, Tensor updates, Tensor gradient, float maxNorm);
}
