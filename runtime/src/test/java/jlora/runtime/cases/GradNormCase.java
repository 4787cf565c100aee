package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.GradNormKernel;

import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * The norm of a gradient, the factor that clips it, and the count of updates.
 *
 * @param last what the last element is, instead of a normal value
 */
public record GradNormCase(int parameters, double sigma, float maxNorm, OptionalDouble last)
        implements OpCase<GradNormKernel> {
    public static List<OpCase<GradNormKernel>> all() {
        return List.of(
                new GradNormCase(1, 3, 1),
                new GradNormCase(13, 1, 1),
                new GradNormCase(13, 1, 0),
                new GradNormCase(1000, 0.001, 1),
                new GradNormCase(1000, 0, 1),
                new GradNormCase(100_003, 100, 0.5f),
                new GradNormCase(100_003, 1e-8, 1),
                // Finite in f64, and not in f32.
                new GradNormCase(1000, 3e38 / 4, 1),
                with(1, Double.NaN),
                with(13, Double.POSITIVE_INFINITY),
                with(1003, Double.NEGATIVE_INFINITY),
                with(100_003, Double.NaN));
    }

    private GradNormCase(int parameters, double sigma, double maxNorm) {
        this(parameters, sigma, (float) maxNorm, OptionalDouble.empty());
    }

    private static GradNormCase with(int parameters, double last) {
        return new GradNormCase(parameters, 1, 1, OptionalDouble.of(last));
    }

    /** All of rank 8 on c_attn in GPT-2, and ten million. */
    public static List<OpCase<GradNormKernel>> speed() {
        return List.of(new GradNormCase(294_912, 1, 1), new GradNormCase(10_000_000, 1, 1));
    }

    @Override
    public Problem<GradNormKernel> problem() {
        var p = new Problem<GradNormKernel>("grad_norm " + this);
        Tolerance tolerance = Tolerance.f32(F32, parameters);
        boolean overflows = sigma * Math.sqrt(parameters) > Float.MAX_VALUE;
        boolean finite = last.isEmpty() && !overflows;
        Fill fill =
                (random, r, c) ->
                        c == parameters - 1 && last.isPresent()
                                ? last.getAsDouble()
                                : Math.clamp(
                                        sigma * random.nextGaussian(),
                                        -Float.MAX_VALUE,
                                        Float.MAX_VALUE);
        Slot gradient = p.input("gradient", F32, 1, parameters, Layout.ODD, fill);
        Slot updates =
                p.updated(
                        "updates",
                        F32,
                        1,
                        1,
                        Layout.ODD,
                        Fill.row(6.0),
                        Tolerance.exact("it is a count"));
        // Length and factor differ in size, so each has a scale of its own.
        Slot norm = p.scratch("norm", F32, 1, 2, Layout.ODD);
        Slot length =
                p.columns(
                        "length",
                        norm,
                        0,
                        1,
                        Optional.empty(),
                        Optional.of(tolerance.orNaN("a gradient may hold one")));
        Slot factor = p.columns("factor", norm, 1, 1, Optional.empty(), Optional.of(tolerance));
        p.pass(
                "forward",
                2.0 * parameters,
                List.of(gradient),
                finite ? List.of(length, updates, factor) : List.of(length, updates),
                finite ? List.of() : List.of(factor),
                (k, t) -> k.forward(t.apply(norm), t.apply(updates), t.apply(gradient), maxNorm));
        return p;
    }
}
