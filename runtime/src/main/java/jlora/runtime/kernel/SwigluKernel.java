package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

/** SwiGLU (arXiv 2002.05202): out = silu(gate)·up, silu(z) = z/(1 + e⁻ᶻ). */
public interface SwigluKernel {
    /** out[T,F] from the fused [gate | up] rows gateUp[T,2F]. */
    void forward(Tensor out, Tensor gateUp);

    /** dGateUp[T,2F], overwritten. */
    void backward(Tensor dGateUp, Tensor dOut, Tensor gateUp);
}
