package jlora.runtime.kernel;

import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * Layer normalisation (arXiv 1607.06450) of a residual stream, fused with the addition that
 * precedes it: s = x + residual, out = (s - mean)·rstd·weight + bias, rstd = 1/√(var(s) + eps) with
 * the biased variance.
 */
public interface LayerNormKernel {
    /**
     * @param stats f32 [T,2]: mean and rstd of each row
     * @param sum x + residual, [T,C]; present exactly when residual is. The norm reads it as it is
     *     stored, rounded, so that recomputing from it changes no bit
     * @param weight [1,C]
     * @param bias [1,C]
     */
    void forward(
            Tensor out,
            Tensor stats,
            Optional<Tensor> sum,
            Tensor x,
            Optional<Tensor> residual,
            Tensor weight,
            Tensor bias,
            float eps);

    /**
     * dx = dSum + the norm's own gradient: the gradient of s, and so of both x and residual.
     *
     * @param dWeight f32 [1,C]
     * @param dBias f32 [1,C]
     * @param dSum the gradient that reaches s directly, past the norm
     * @param sum the s of the forward pass (x itself when there was no residual)
     */
    void backward(
            Tensor dx,
            Optional<Grad> dWeight,
            Optional<Grad> dBias,
            Tensor dOut,
            Optional<Tensor> dSum,
            Tensor sum,
            Tensor weight,
            Tensor stats);
}
