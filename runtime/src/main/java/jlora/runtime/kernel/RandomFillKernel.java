package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

/** Initial values, made where they are needed. */
public interface RandomFillKernel {
    /**
     * to[r,c] = standardDeviation · the e-th normal number of {@link RandomNumbers} for this seed
     * and stream, e = first + r·cols + c; formed in f64, rounded to f32 and then to the tensor's
     * type.
     *
     * @param first not 0 for a part of a tensor
     */
    void normal(Tensor to, long first, long seed, int stream, double standardDeviation);

    /** to[r,c] = value, rounded to the tensor's type. */
    void constant(Tensor to, float value);
}
