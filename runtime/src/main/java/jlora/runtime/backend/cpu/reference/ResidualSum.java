package jlora.runtime.backend.cpu.reference;

import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/** The addition that precedes a norm. */
final class ResidualSum {
    private ResidualSum() {}

    /** Stores x + residual and returns it, or returns x where there is no residual. */
    static Tensor of(Optional<Tensor> sum, Tensor x, Optional<Tensor> residual) {
        if (sum.isPresent() != residual.isPresent()) {
            throw new IllegalArgumentException("a residual and its sum go together");
        }
        if (sum.isEmpty()) {
            return x;
        }
        for (long t = 0; t < x.rows(); t++) {
            for (long c = 0; c < x.cols(); c++) {
                Elements.set(
                        sum.get(),
                        t,
                        c,
                        Elements.get(x, t, c) + Elements.get(residual.get(), t, c));
            }
        }
        return sum.get();
    }
}
