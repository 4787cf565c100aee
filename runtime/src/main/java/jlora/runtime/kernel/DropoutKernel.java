package jlora.runtime.kernel;

import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

/**
 * Inverted dropout with a counter-based generator, so that backward and recomputed passes see the
 * same mask without storing it, on every backend and for every thread count.
 *
 * <p>Element (row t, column c) of a tensor with C columns has the index e = t·C + c. Philox4x32-10
 * (Salmon et al., SC11) with key (rng[0], rng[1]) and counter (low 32 bits of e/4, high 32 bits of
 * e/4, stream, rng[2]) yields four words; word e mod 4, as an unsigned number, keeps the element
 * when it is ≥ ⌊p·2³²⌋; kept elements are multiplied by 1/(1 − p).
 */
public interface DropoutKernel {
    /**
     * out[T,C] = mask·x/(1−p).
     *
     * @param rng i32 [1,3]: low and high word of the seed, number of the micro-batch
     * @param stream tells the dropouts of one pass apart
     */
    void forward(Tensor out, Tensor x, float p, Tensor rng, int stream);

    /** dx[T,C] (+)= mask·dOut/(1−p). */
    void backward(Grad dx, Tensor dOut, float p, Tensor rng, int stream);
}
