package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.LinearCrossEntropyKernel;
import jlora.runtime.kernel.LinearCrossEntropyKernel.Workspace;
import jlora.runtime.tensor.DType;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * Output head and loss.
 *
 * @param masked rows without target: every so many one, or none when 0; 1 masks all
 * @param counted whether the kernel is told how many rows have a target
 * @param spread standard deviation of the logits
 * @param overflow whether the target logit of the last row with a target is so small that its loss
 *     is infinite
 */
public record LinearCrossEntropyCase(
        int tokens,
        int in,
        int vocabulary,
        int chunk,
        int masked,
        boolean counted,
        float smoothing,
        double spread,
        boolean overflow,
        WeightGradient weightGradient,
        DType dtype,
        Layout layout)
        implements OpCase<LinearCrossEntropyKernel> {
    public static List<OpCase<LinearCrossEntropyKernel>> all() {
        List<LinearCrossEntropyCase> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(of(1, 1, 2, 1, 0, 0, 1, WeightGradient.OVERWRITE, dtype, Layout.ODD));
            cases.add(of(3, 4, 1, 2, 0, 0.1f, 1, WeightGradient.NONE, dtype, Layout.DENSE));
            cases.add(of(11, 9, 23, 4, 3, 0, 1, WeightGradient.OVERWRITE, dtype, Layout.ODD));
            cases.add(of(11, 9, 23, 4, 0, 0.1f, 1, WeightGradient.ACCUMULATE, dtype, Layout.ODD));
            cases.add(of(6, 16, 40, 16, 2, 0.2f, 2, WeightGradient.NONE, dtype, Layout.PADDED));
            cases.add(of(5, 8, 12, 2, 1, 0, 1, WeightGradient.OVERWRITE, dtype, Layout.DENSE));
            cases.add(of(5, 8, 12, 2, 1, 0, 1, WeightGradient.ACCUMULATE, dtype, Layout.DENSE));
            cases.add(of(40, 64, 300, 16, 4, 0, 1, WeightGradient.ACCUMULATE, dtype, Layout.DENSE));
        }
        cases.add(of(7, 16, 50, 3, 0, 0, 40, WeightGradient.OVERWRITE, F32, Layout.DENSE));
        List<LinearCrossEntropyCase> overflowing =
                cases.stream()
                        .filter(c -> c.masked != 1 && c.vocabulary > 1 && c.spread <= 2)
                        .map(LinearCrossEntropyCase::overflowing)
                        .toList();
        cases.addAll(overflowing);
        List<LinearCrossEntropyCase> masked = cases.stream().filter(c -> c.masked > 0).toList();
        return Stream.concat(cases.stream(), masked.stream().map(c -> c.whenCounted()))
                .map(c -> (OpCase<LinearCrossEntropyKernel>) c)
                .toList();
    }

    /** GPT-2, 1024 tokens. */
    public static List<OpCase<LinearCrossEntropyKernel>> speed() {
        return List.of(
                of(1024, 768, 50_257, 128, 0, 0, 1, WeightGradient.NONE, F32, Layout.DENSE),
                of(1024, 768, 50_257, 128, 0, 0, 1, WeightGradient.NONE, BF16, Layout.DENSE));
    }

    private static LinearCrossEntropyCase of(
            int tokens,
            int in,
            int vocabulary,
            int chunk,
            int masked,
            float smoothing,
            double spread,
            WeightGradient weightGradient,
            DType dtype,
            Layout layout) {
        return new LinearCrossEntropyCase(
                tokens,
                in,
                vocabulary,
                chunk,
                masked,
                false,
                smoothing,
                spread,
                false,
                weightGradient,
                dtype,
                layout);
    }

    private LinearCrossEntropyCase whenCounted() {
        return new LinearCrossEntropyCase(
                tokens,
                in,
                vocabulary,
                chunk,
                masked,
                true,
                smoothing,
                spread,
                overflow,
                weightGradient,
                dtype,
                layout);
    }

    private LinearCrossEntropyCase overflowing() {
        return new LinearCrossEntropyCase(
                tokens,
                in,
                vocabulary,
                chunk,
                masked,
                counted,
                smoothing,
                spread,
                true,
                weightGradient,
                dtype,
                layout);
    }

    private boolean hasTarget(long row) {
        return masked == 0 || row % masked != masked - 1;
    }

    private int lastTarget() {
        int row = tokens - 1;
        while (!hasTarget(row)) {
            row--;
        }
        return row;
    }

    @Override
    public Problem<LinearCrossEntropyKernel> problem() {
        var p = new Problem<LinearCrossEntropyKernel>("linear_cross_entropy " + this);
        int trained = 0;
        for (int t = 0; t < tokens; t++) {
            trained += hasTarget(t) ? 1 : 0;
        }
        long mostTargets = counted ? trained : tokens;
        int lost = overflow ? lastTarget() : -1;
        // Nobody else has the target that the lost row has.
        Fill ids =
                (random, r, c) ->
                        !hasTarget(c)
                                ? -100
                                : c == lost ? 0 : random.nextInt(overflow ? 1 : 0, vocabulary);
        double even = 1.0 / Math.max(1, trained);
        Fill share = (random, r, c) -> even * (0.5 + random.nextDouble());
        // The first column is there for the lost row's logit alone: −4 · 2¹²⁷ is no f32.
        Fill hidden =
                (random, r, c) ->
                        !overflow || c > 0 ? random.nextGaussian() : r == lost ? 0x1p127 : 0;
        double sigma = spread / Math.sqrt(in);
        Fill classes =
                (random, r, c) ->
                        !overflow || c > 0 ? sigma * random.nextGaussian() : r == 0 ? -4 : 0;
        Slot x = p.input("x", dtype, tokens, in, layout, hidden);
        Slot weight = p.input("weight", dtype, vocabulary, in, layout, classes);
        Slot targets = p.input("targets", DType.I32, 1, tokens, Layout.ODD, ids);
        Slot scale = p.input("scale", F32, 1, tokens, Layout.ODD, share);
        Slot logits = p.scratch("logits", F32, chunk, vocabulary, layout);
        Slot dLogits =
                dtype == F32 ? logits : p.scratch("dLogits", dtype, chunk, vocabulary, layout);
        Slot rows = p.scratch("rows", dtype, chunk, in, layout);
        Slot dRows = p.scratch("dRows", F32, chunk, in, layout);
        List<Slot> scratch = List.of(logits, dLogits, rows, dRows);
        Tolerance mean =
                Tolerance.f32(F32, in)
                        .times(1 + spread, "exponentials magnify errors of the logits")
                        .plusAbsolute(1e-6 * (1 + spread), "losses near zero are differences");
        Tolerance gradient =
                Tolerance.rounding(dtype, dtype, vocabulary)
                        .times(2 + spread, "exponentials magnify errors of the logits");
        Slot loss = p.output("loss", F32, 1, 1, Layout.ODD, mean);
        Slot both = p.output("loss with gradients", F32, 1, 1, Layout.ODD, mean);
        Slot dx = p.output("dx", dtype, tokens, in, layout, gradient(gradient));
        Tolerance weights =
                gradient(
                        Tolerance.rounding(dtype, F32, tokens)
                                .times(2 + spread, "exponentials magnify errors of the logits"));
        Optional<Slot> dWeight =
                weightGradient == WeightGradient.NONE
                        ? Optional.empty()
                        : Optional.of(
                                p.target(
                                        "dWeight",
                                        F32,
                                        vocabulary,
                                        in,
                                        layout,
                                        weightGradient == WeightGradient.ACCUMULATE,
                                        weights));
        List<Slot> reads = List.of(x, weight, targets, scale);
        List<Slot> writes = new ArrayList<>(List.of(both, dx));
        dWeight.ifPresent(writes::add);
        double product = 2.0 * trained * in * vocabulary;
        double products = dWeight.isPresent() ? 3 : 2;
        p.pass(
                "forward",
                product,
                reads,
                List.of(loss),
                scratch,
                (k, t) ->
                        k.forward(
                                t.apply(loss),
                                t.apply(x),
                                t.apply(weight),
                                t.apply(targets),
                                t.apply(scale),
                                smoothing,
                                mostTargets,
                                new Workspace(
                                        t.apply(logits),
                                        t.apply(dLogits),
                                        t.apply(rows),
                                        t.apply(dRows))));
        p.pass(
                "forwardBackward",
                products * product,
                reads,
                writes,
                scratch,
                (k, t) ->
                        k.forwardBackward(
                                t.apply(both),
                                t.apply(dx),
                                dWeight.map(t).map(weightGradient::grad),
                                t.apply(x),
                                t.apply(weight),
                                t.apply(targets),
                                t.apply(scale),
                                smoothing,
                                mostTargets,
                                new Workspace(
                                        t.apply(logits),
                                        t.apply(dLogits),
                                        t.apply(rows),
                                        t.apply(dRows))));
        p.loss(loss);
        // The mean over more tokens rounds by as much as one of them contributes.
        if (spread <= 2 && tokens <= 16 && !overflow) {
            p.gradient(x, dx);
            dWeight.ifPresent(slot -> p.gradient(weight, slot));
        }
        return p;
    }

    /** A single class has probability 1 and no gradient; rounding leaves traces of one. */
    private Tolerance gradient(Tolerance tolerance) {
        Tolerance all =
                tolerance.plusAbsolute(
                        1e-7 * (1 + spread) * spread, "p − 1 cancels for certain targets");
        return overflow ? all.orNaN("a loss that is not finite has no gradient") : all;
    }
}
