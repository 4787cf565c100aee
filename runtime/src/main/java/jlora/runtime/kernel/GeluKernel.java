package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

/** Gaussian error linear unit (arXiv 1606.08415). */
public interface GeluKernel {
    /**
     * The exact form x·Φ(x), or the tanh approximation that Transformers calls {@code gelu_new}.
     */
    enum Form {
        ERF,
        TANH
    }

    /** out[T,F] = gelu(x[T,F]). */
    void forward(Tensor out, Tensor x, Form form);

    /** dx[T,F], overwritten. */
    void backward(Tensor dx, Tensor dOut, Tensor x, Form form);
}
