package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/** What becomes of the gradient of a norm's parameters: frozen ones have none. */
public enum WeightGradient {
    NONE,
    OVERWRITE,
    ACCUMULATE;

    /**
     * Declares the gradient of a row of parameters, a sum over so many terms, where there is one.
     */
    Optional<Slot> declare(Problem<?> problem, String name, long cols, long terms, Layout layout) {
        return this == NONE
                ? Optional.empty()
                : Optional.of(
                        problem.target(
                                name,
                                F32,
                                1,
                                cols,
                                layout,
                                this == ACCUMULATE,
                                Tolerance.f32(F32, terms)));
    }

    Grad grad(Tensor target) {
        return new Grad(target, this == ACCUMULATE);
    }
}
