package jlora.runtime.tensor;

import java.util.Objects;

/**
 * Where a backward kernel puts a gradient: the first consumer of a tensor overwrites, later ones
 * (and later micro-batches) add. So nothing is ever zeroed first, and no sum needs a pass of its
 * own.
 */
public record Grad(Tensor tensor, boolean accumulate) {
    public Grad {
        Objects.requireNonNull(tensor);
    }

    public static Grad overwrite(Tensor tensor) {
        return new Grad(tensor, false);
    }

    public static Grad accumulate(Tensor tensor) {
        return new Grad(tensor, true);
    }
}
