package jlora.runtime.kernel;

import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * Matrix products with a weight stored [N, K], as PyTorch's {@code nn.Linear} stores it. Adapters
 * need no kernels of their own: bordered weights and padded activations make their products
 * instances of these, over wider or narrower views. Operands share one float type; results may be
 * f32 whatever the operands are. Products accumulate in f32.
 */
public interface LinearKernel {
    /** out[T,N] = x[T,K]·weight[N,K]ᵀ (+ bias[1,N] on every row). */
    void forward(Tensor out, Tensor x, Tensor weight, Optional<Tensor> bias);

    /** dx[T,K] (+)= dOut[T,N]·weight[N,K]. */
    void backwardInput(Grad dx, Tensor dOut, Tensor weight);

    /** dWeight[N,K] (+)= scale · dOut[T,N]ᵀ·x[T,K]; dWeight is f32. */
    void backwardWeight(Grad dWeight, Tensor dOut, Tensor x, float scale);

    /** dBias[1,N] (+)= column sums of dOut[T,N]; dBias is f32. */
    void backwardBias(Grad dBias, Tensor dOut);
}
