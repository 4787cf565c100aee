package jlora.runtime.kernel;

import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * Root mean square normalisation (arXiv 1910.07467, equation 4) of a residual stream, fused with
 * the addition that precedes it: s = x + residual, out = s · rstd · weight, rstd = 1/√(mean(s²) +
 * eps).
 */
public interface RmsNormKernel {
    /**
     * @param sum x + residual, [T,C]; present exactly when residual is. The norm reads it as it is
     *     stored, rounded, so that recomputing from it changes no bit
     * @param rstd f32 [T,1]
     * @param weight [1,C]
     */
    void forward(
            Tensor out,
            Tensor rstd,
            Optional<Tensor> sum,
            Tensor x,
            Optional<Tensor> residual,
            Tensor weight,
            float eps);

    /**
     * dx = dSum + the norm's own gradient: the gradient of s, and so of both x and residual.
     *
     * @param dWeight f32 [1,C]
     * @param dSum the gradient that reaches s directly, past the norm
     * @param sum the s of the forward pass (x itself when there was no residual)
     */
    void backward(
            Tensor dx,
            Optional<Grad> dWeight,
            Tensor dOut,
            Optional<Tensor> dSum,
            Tensor sum,
            Tensor weight,
            Tensor rstd);
}
