package jlora.runtime.kernel;

import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * Output head and cross-entropy in one, over chunks of rows, so that full logits never exist (as in
 * arXiv 2410.10989, section 3.2): the gradient of a chunk's logits is formed while they are at
 * hand. Rows whose target is −100 take no part.
 *
 * <p>Per row with target y and p = softmax(x·weightᵀ): loss = −(1−ε)·log p[y] − ε·mean(log p), ε =
 * labelSmoothing (the definition of Transformers' label_smoothing_factor).
 *
 * <p>A row whose loss is not finite as an f32, before it is scaled, makes the loss of the call not
 * finite either, and its gradient is NaN throughout. A target logit of −∞ alone would have a finite
 * gradient; so whoever sees the gradients' norm, as {@link GradNormKernel} does, sees a loss that
 * is not finite too.
 */
public interface LinearCrossEntropyKernel {
    /**
     * Scratch for chunks of C rows over a vocabulary of V: reserved by the plan, owned by the
     * kernel during a call.
     *
     * @param logits f32 [C,V]
     * @param dLogits x's type, [C,V]; the same tensor as logits when x is f32
     * @param rows x's type, [C,K]: the chunk's rows of x, gathered
     * @param dRows f32 [C,K]
     */
    record Workspace(Tensor logits, Tensor dLogits, Tensor rows, Tensor dRows) {}

    /**
     * loss[1,1] f32 = Σ scale[t] · the loss of row t, overwritten.
     *
     * @param x [T,K]
     * @param weight [V,K]
     * @param targets i32 [1,T], already shifted: the id that row t has to predict, or −100
     * @param scale f32 [1,T]: what a row's loss counts, usually 1 / trained tokens of the whole
     *     optimizer step
     * @param mostTargets at most so many rows have a target: a device that cannot look at them
     *     before it starts computes that many. With more of them the call fails, or the loss is
     *     NaN; and so it does with a target that is no id
     */
    void forward(
            Tensor loss,
            Tensor x,
            Tensor weight,
            Tensor targets,
            Tensor scale,
            float labelSmoothing,
            long mostTargets,
            Workspace workspace);

    /**
     * The same loss, with dx[T,K] (overwritten, zero for rows without target) and dWeight[V,K]
     * (f32) of it. Where the loss is NaN there is NaN in dx.
     */
    void forwardBackward(
            Tensor loss,
            Tensor dx,
            Optional<Grad> dWeight,
            Tensor x,
            Tensor weight,
            Tensor targets,
            Tensor scale,
            float labelSmoothing,
            long mostTargets,
            Workspace workspace);
}
