package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

import java.util.List;

/**
 * Writes trained f32 masters to where products read them: borders and weights, scaled, in their own
 * type.
 */
public interface PublishKernel {
    /** to[r,c] = scale · from[r,c], rounded to nearest even; from is f32 of the same shape. */
    record Copy(Tensor to, Tensor from, float scale) {}

    void publish(List<Copy> copies);
}
