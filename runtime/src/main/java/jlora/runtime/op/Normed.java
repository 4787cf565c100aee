package jlora.runtime.op;

import jlora.runtime.tensor.Tensor;

/**
 * What a norm on the residual stream yields.
 *
 * @param sum the residual stream after the addition that the norm begins with
 * @param out the normalised rows
 */
public record Normed(Tensor sum, Tensor out) {}
