package jlora.runtime.op;

import jlora.runtime.plan.Gradients;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * The large products of a linear layer: what is recorded depends on how its weight [N,K] is stored.
 * The low-rank columns behind X and behind dY have been recorded when these are called.
 */
sealed interface LinearProduct permits BorderedProduct, Fp8Product {
    /** N. */
    long out();

    /** The weight as something that may be trained itself. */
    Optional<Tensor> trainable();

    /** y[T,N] = x·Wᵀ + u·(sB)ᵀ + bias. */
    void forward(Trace trace, Tensor y, Tensor x, Optional<Tensor> bias);

    /**
     * dx[T,K] (+)= dy·W + du·A.
     *
     * @param lowRank false where the second term is not to be part of it, though there is a border
     */
    void backwardInput(Gradients g, Grad dx, Tensor dy, boolean lowRank);
}
