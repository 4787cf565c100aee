package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

/**
 * AdamW (arXiv 1711.05101, algorithm 2) over flat f32 buffers, with the arithmetic of {@code
 * torch.optim.AdamW}.
 */
public interface AdamWKernel {
    /**
     * @param decayed the first so many parameters get weight decay, the rest none
     */
    record Settings(float beta1, float beta2, float eps, float weightDecay, long decayed) {}

    /**
     * One step: g = gradient · norm[1]; decay, moments and update as in torch; then gradient = 0
     * for the next accumulation.
     *
     * @param master f32 [1,P], as are gradient, m and v
     * @param schedule f32 [1,3]: learning rate, 1 − beta1ᵗ, 1 − beta2ᵗ
     * @param norm f32 [1,2], as {@link GradNormKernel} leaves it
     */
    void update(
            Tensor master,
            Tensor gradient,
            Tensor m,
            Tensor v,
            Tensor schedule,
            Tensor norm,
            Settings settings);
}
