package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.kernel.PublishKernel;
import jlora.runtime.tensor.DType;

import java.util.ArrayList;
import java.util.List;

/**
 * One step of AdamW, and copies of the new parameters.
 *
 * @param step how many updates there are with this one; the moments are zero before the first
 * @param rate far larger than one trains with, so that an error of the update shows in the
 *     parameters
 * @param norm of the gradient; where it is not finite, nothing may change but the gradient
 * @param factor what the gradient is multiplied by
 * @param moments how m and v lie: other than the rest, nothing can be moved by 16 bytes
 * @param parts what is copied
 */
public record AdamWCase(
        int parameters,
        int decayed,
        int step,
        double rate,
        float eps,
        float weightDecay,
        double gradient,
        double norm,
        double factor,
        Layout moments,
        List<Part> parts)
        implements OpCase<AdamWKernel> {
    /** Parameters from one on, as a matrix, and what becomes of them on their way. */
    public record Part(int from, int rows, int cols, float scale, DType dtype) {}

    private static final float BETA_1 = 0.9f;
    private static final float BETA_2 = 0.95f;

    public static List<OpCase<AdamWKernel>> all() {
        return List.of(
                of(1, 0, 1, 0.5, 1e-8f, 0.1f, 1, 1, new Part(0, 1, 1, 1, BF16)),
                of(7, 7, 1, 0.5, 1e-8f, 0.1f, 1, 1),
                of(
                        123,
                        61,
                        3,
                        0.5,
                        1e-8f,
                        0.1f,
                        1,
                        0.25,
                        new Part(0, 5, 13, 1, BF16),
                        new Part(65, 7, 5, 2, F32),
                        new Part(101, 3, 7, 0.5f, BF16)),
                of(1000, 1000, 500, 0.25, 1e-3f, 0, 1e-3, 1),
                new AdamWCase(
                        4099,
                        0,
                        2,
                        0.5,
                        1e-6f,
                        0.5f,
                        10,
                        12.5,
                        0.01,
                        Layout.DENSE,
                        List.of(new Part(3, 64, 64, 2, BF16))),
                of(
                        100_003,
                        50_000,
                        10,
                        0,
                        1e-8f,
                        0.1f,
                        1,
                        1,
                        new Part(1, 16, 3000, 1, BF16),
                        new Part(48_001, 1000, 16, 0.3f, BF16),
                        new Part(64_001, 100, 360, 1, F32)),
                leftOut(1, Double.NaN, Layout.ODD),
                leftOut(123, Double.POSITIVE_INFINITY, Layout.DENSE),
                leftOut(4099, Double.NaN, Layout.DENSE),
                leftOut(50_003, Double.POSITIVE_INFINITY, Layout.ODD));
    }

    private static AdamWCase leftOut(int parameters, double norm, Layout moments) {
        return new AdamWCase(
                parameters,
                parameters / 2,
                7,
                0.5,
                1e-8f,
                0.1f,
                1,
                norm,
                1,
                moments,
                List.of(new Part(0, 1, parameters, 1, BF16)));
    }

    private static AdamWCase of(
            int parameters,
            int decayed,
            int step,
            double rate,
            float eps,
            float weightDecay,
            double gradient,
            double factor,
            Part... parts) {
        return new AdamWCase(
                parameters,
                decayed,
                step,
                rate,
                eps,
                weightDecay,
                gradient,
                12.5,
                factor,
                Layout.ODD,
                List.of(parts));
    }

    /** Ten million parameters, alone and with their copies. */
    public static List<OpCase<AdamWKernel>> speed() {
        return List.of(
                of(10_000_000, 5_000_000, 10, 1e-3, 1e-8f, 0.01f, 1, 1),
                of(
                        10_000_000,
                        5_000_000,
                        10,
                        1e-3,
                        1e-8f,
                        0.01f,
                        1,
                        1,
                        new Part(0, 1600, 4096, 1, BF16),
                        new Part(6_553_600, 200_000, 16, 2, BF16)));
    }

    @Override
    public Problem<AdamWKernel> problem() {
        var p = new Problem<AdamWKernel>("adamw " + this);
        boolean first = step == 1;
        boolean applied = Double.isFinite(norm);
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
                        (random, r, c) ->
                                applied || c % 3 > 0 ? gradient * random.nextGaussian() : norm,
                        Tolerance.exact("it becomes zero"));
        Slot m =
                p.updated(
                        "m",
                        F32,
                        1,
                        parameters,
                        moments,
                        Fill.normal(first ? 0 : typical),
                        tolerance);
        Slot v = p.updated("v", F32, 1, parameters, moments, squares, tolerance);
        Slot learningRate = p.input("learningRate", F32, 1, 1, layout, Fill.row(rate));
        Slot normAndFactor = p.input("norm", F32, 1, 2, layout, Fill.row(norm, factor));
        Slot updates = p.input("updates", F32, 1, 1, layout, Fill.row((double) step));
        List<Slot> from = new ArrayList<>();
        List<Slot> to = new ArrayList<>();
        List<Slot> writes = new ArrayList<>(applied ? List.of(master, g, m, v) : List.of(g));
        for (Part part : parts) {
            int rows = part.rows();
            int cols = part.cols();
            from.add(p.matrix("from" + part.from(), master, part.from(), rows, cols));
            to.add(
                    p.output(
                            "to" + part.from(),
                            part.dtype(),
                            rows,
                            cols,
                            Layout.PADDED,
                            Tolerance.f32(part.dtype(), 1)));
        }
        // What a step that is left out must not write is guarded as all other memory is.
        if (applied) {
            writes.addAll(to);
        }
        var settings = new AdamWKernel.Settings(BETA_1, BETA_2, eps, weightDecay, decayed);
        p.pass(
                "update",
                15.0 * parameters,
                List.of(learningRate, normAndFactor, updates),
                writes,
                (k, t) -> {
                    List<PublishKernel.Copy> copies = new ArrayList<>();
                    for (int i = 0; i < parts.size(); i++) {
                        copies.add(
                                new PublishKernel.Copy(
                                        t.apply(to.get(i)),
                                        t.apply(from.get(i)),
                                        parts.get(i).scale()));
                    }
                    k.update(
                            t.apply(master),
                            t.apply(g),
                            t.apply(m),
                            t.apply(v),
                            t.apply(learningRate),
                            t.apply(normAndFactor),
                            t.apply(updates),
                            settings,
                            copies);
                });
        return p;
    }
}
