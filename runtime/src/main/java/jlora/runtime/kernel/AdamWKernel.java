package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

import java.util.List;

/**
 * AdamW (arXiv 1711.05101, algorithm 2) over flat f32 buffers, with the arithmetic of {@code
 * torch.optim.AdamW}.
 */
public interface AdamWKernel {
    /**
     * The constants are doubles because torch forms 1 − beta in double: 1 − 0.999f is off by 5e-5.
     *
     * @param decayed the first so many parameters get weight decay, the rest none
     */
    record Settings(double beta1, double beta2, double eps, double weightDecay, long decayed) {}

    /**
     * One step: g = gradient · norm[1]; decay, moments and update as in torch, whose step count t
     * is updates; then gradient = 0 for the next accumulation; then the copies.
     *
     * <p>Where norm[0] is not finite, gradient becomes 0 and nothing else is written: a step that
     * is left out leaves no trace, as in torch when step() is not called.
     *
     * @param master f32 [1,P], as are gradient, m and v
     * @param learningRate f32 [1,1]
     * @param norm f32 [1,2], as {@link GradNormKernel} leaves it
     * @param updates f32 [1,1], likewise; 1 − beta1ᵗ and 1 − beta2ᵗ are formed of it in double
     * @param copies where the new values of master go at once, as {@link PublishKernel} writes
     *     them; each reads a dense part of master
     */
    void update(
            Tensor master,
            Tensor gradient,
            Tensor m,
            Tensor v,
            Tensor learningRate,
            Tensor norm,
            Tensor updates,
            Settings settings,
            List<PublishKernel.Copy> copies);
}
