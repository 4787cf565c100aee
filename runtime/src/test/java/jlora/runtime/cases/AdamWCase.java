package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.AdamWKernel;

import java.util.List;

/**
 * One step of AdamW.
 *
 * @param step its number, from 1; the moments are zero before the first
 * @param rate far larger than one trains with, so that an error of the update shows in the
 *     parameters
 * @param factor what the gradient is multiplied by
 */
public record AdamWCase(
        int parameters,
        int decayed,
        int step,
        double rate,
        float eps,
        float weightDecay,
        double gradient,
        double factor)
        implements OpCase<AdamWKernel> {
    private static final float BETA_1 = 0.9f;
    private static final float BETA_2 = 0.95f;

    public static List<OpCase<AdamWKernel>> all() {
        return List.of(
                new AdamWCase(1, 0, 1, 0.5, 1e-8f, 0.1f, 1, 1),
                new AdamWCase(7, 7, 1, 0.5, 1e-8f, 0.1f, 1, 1),
                new AdamWCase(123, 61, 3, 0.5, 1e-8f, 0.1f, 1, 0.25),
                new AdamWCase(1000, 1000, 500, 0.25, 1e-3f, 0, 1e-3, 1),
                new AdamWCase(4099, 0, 2, 0.5, 1e-6f, 0.5f, 10, 0.01),
                new AdamWCase(100_003, 50_000, 10, 0, 1e-8f, 0.1f, 1, 1));
    }

    /** Ten million parameters. */
    public static List<OpCase<AdamWKernel>> speed() {
        return List.of(new AdamWCase(10_000_000, 5_000_000, 10, 1e-3, 1e-8f, 0.01f, 1, 1));
    }

    @Override
    public Problem<AdamWKernel> problem() {
        var p = new Problem<AdamWKernel>("adamw " + this);
        boolean first = step == 1;
        double typical = gradient * factor;
        Fill squares = (random, r, c) -> first ? 0 : typical * typical * random.nextDouble(0.25, 4);
        Tolerance tolerance = Tolerance.f32(F32, 1);
        Layout layout = Layout.ODD;
        Slot master = p.updated("master", F32, 1, parameters, layout, Fill.normal(1), tolerance);
        Slot g =
                p.updated(
                        "gradient",
                        F32,
                        1,
                        parameters,
                        layout,
                        Fill.normal(gradient),
                        Tolerance.exact("it becomes zero"));
        Slot m =
                p.updated(
                        "m",
                        F32,
                        1,
                        parameters,
                        layout,
                        Fill.normal(first ? 0 : typical),
                        tolerance);
        Slot v = p.updated("v", F32, 1, parameters, layout, squares, tolerance);
        Slot schedule =
                p.input(
                        "schedule",
                        F32,
                        1,
                        3,
                        layout,
                        Fill.row(rate, 1 - Math.pow(BETA_1, step), 1 - Math.pow(BETA_2, step)));
        Slot norm = p.input("norm", F32, 1, 2, layout, Fill.row(12.5, factor));
        var settings = new AdamWKernel.Settings(BETA_1, BETA_2, eps, weightDecay, decayed);
        p.pass(
                "update",
                15.0 * parameters,
                List.of(schedule, norm),
                List.of(master, g, m, v),
                (k, t) ->
                        k.update(
                                t.apply(master),
                                t.apply(g),
                                t.apply(m),
                                t.apply(v),
                                t.apply(schedule),
                                t.apply(norm),
                                settings));
        return p;
    }
}
