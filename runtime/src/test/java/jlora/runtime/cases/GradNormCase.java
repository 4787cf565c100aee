package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.GradNormKernel;

import java.util.List;
import java.util.Optional;

/** The norm of a gradient and the factor that clips it. */
public record GradNormCase(int parameters, double sigma, float maxNorm)
        implements OpCase<GradNormKernel> {
    public static List<OpCase<GradNormKernel>> all() {
        return List.of(
                new GradNormCase(1, 3, 1),
                new GradNormCase(13, 1, 1),
                new GradNormCase(13, 1, 0),
                new GradNormCase(1000, 0.001, 1),
                new GradNormCase(1000, 0, 1),
                new GradNormCase(100_003, 100, 0.5f),
                new GradNormCase(100_003, 1e-8, 1));
    }

    /** All of rank 8 on c_attn in GPT-2, and ten million. */
    public static List<OpCase<GradNormKernel>> speed() {
        return List.of(new GradNormCase(294_912, 1, 1), new GradNormCase(10_000_000, 1, 1));
    }

    @Override
    public Problem<GradNormKernel> problem() {
        var p = new Problem<GradNormKernel>("grad_norm " + this);
        Tolerance tolerance = Tolerance.f32(F32, parameters);
        Slot gradient = p.input("gradient", F32, 1, parameters, Layout.ODD, Fill.normal(sigma));
        // Length and factor differ in size, so each has a scale of its own.
        Slot norm = p.scratch("norm", F32, 1, 2, Layout.ODD);
        Slot length = p.columns("length", norm, 0, 1, Optional.empty(), Optional.of(tolerance));
        Slot factor = p.columns("factor", norm, 1, 1, Optional.empty(), Optional.of(tolerance));
        p.pass(
                "forward",
                2.0 * parameters,
                List.of(gradient),
                List.of(length, factor),
                (k, t) -> k.forward(t.apply(norm), t.apply(gradient), maxNorm));
        return p;
    }
}
