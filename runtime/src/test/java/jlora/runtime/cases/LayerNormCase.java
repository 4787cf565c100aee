package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.LayerNormKernel;
import jlora.runtime.tensor.DType;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Layer norm of a residual stream, and its gradients.
 *
 * @param mean of the input: a large one shows a variance that is computed as a difference of large
 *     numbers
 */
public record LayerNormCase(
        int tokens,
        int cols,
        DType dtype,
        boolean residual,
        boolean dSum,
        WeightGradient weightGradient,
        double mean,
        Layout layout)
        implements OpCase<LayerNormKernel> {
    private static final float EPS = 1e-5f;

    public static List<OpCase<LayerNormKernel>> all() {
        List<OpCase<LayerNormKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(of(3, 1, dtype, false, false, WeightGradient.OVERWRITE, 0, Layout.ODD));
            cases.add(of(1, 7, dtype, true, true, WeightGradient.ACCUMULATE, 0, Layout.ODD));
            cases.add(of(5, 123, dtype, false, true, WeightGradient.NONE, 0, Layout.ODD));
            cases.add(of(5, 123, dtype, true, false, WeightGradient.OVERWRITE, 1, Layout.DENSE));
            cases.add(of(70, 64, dtype, true, true, WeightGradient.ACCUMULATE, 0, Layout.PADDED));
            cases.add(of(33, 160, dtype, false, false, WeightGradient.OVERWRITE, 0, Layout.DENSE));
            // More rows than a GPU sums gradients of at a time.
            cases.add(of(110, 24, dtype, false, true, WeightGradient.ACCUMULATE, 0, Layout.PADDED));
            // Rows that a block holds, with few and with many elements per thread, and unaligned.
            cases.add(of(6, 1024, dtype, true, true, WeightGradient.NONE, 0, Layout.PADDED));
            cases.add(of(9, 768, dtype, true, true, WeightGradient.OVERWRITE, 0, Layout.DENSE));
            cases.add(of(20, 2056, dtype, true, true, WeightGradient.OVERWRITE, 0, Layout.PADDED));
            cases.add(of(3, 16_384, dtype, true, true, WeightGradient.ACCUMULATE, 0, Layout.DENSE));
            cases.add(of(2, 1543, dtype, true, true, WeightGradient.ACCUMULATE, 0, Layout.ODD));
        }
        cases.add(of(4, 96, F32, false, false, WeightGradient.OVERWRITE, 300, Layout.DENSE));
        return cases;
    }

    /** GPT-2, 1024 tokens. */
    public static List<OpCase<LayerNormKernel>> speed() {
        return List.of(
                of(1024, 768, F32, true, true, WeightGradient.NONE, 0, Layout.PADDED),
                of(1024, 768, F32, true, true, WeightGradient.ACCUMULATE, 0, Layout.PADDED),
                of(1024, 768, BF16, true, true, WeightGradient.NONE, 0, Layout.PADDED));
    }

    private static LayerNormCase of(
            int tokens,
            int cols,
            DType dtype,
            boolean residual,
            boolean dSum,
            WeightGradient weightGradient,
            double mean,
            Layout layout) {
        return new LayerNormCase(tokens, cols, dtype, residual, dSum, weightGradient, mean, layout);
    }

    @Override
    public Problem<LayerNormKernel> problem() {
        var p = new Problem<LayerNormKernel>("layer_norm " + this);
        Tolerance rows =
                Tolerance.f32(dtype, cols)
                        .times(
                                1 + Math.abs(mean),
                                "the mean is subtracted from values of its size");
        Slot x = p.input("x", dtype, tokens, cols, layout, Fill.normal(mean, 1));
        Slot weight = p.input("weight", dtype, 1, cols, layout, Fill.normal(1, 0.2));
        Slot bias = p.input("bias", dtype, 1, cols, layout, Fill.normal(0.5));
        Slot out = p.output("out", dtype, tokens, cols, layout, rows);
        // The two columns differ in size, so each has a scale of its own.
        Slot stats = p.scratch("stats", F32, tokens, 2, layout);
        Tolerance statistics = Tolerance.f32(F32, cols);
        Slot means =
                p.columns(
                        "mean",
                        stats,
                        0,
                        1,
                        Optional.empty(),
                        Optional.of(statistics.plusAbsolute(0x1p-22, "means near zero")));
        Slot rstds = p.columns("rstd", stats, 1, 1, Optional.empty(), Optional.of(statistics));
        List<Slot> forwardReads = new ArrayList<>(List.of(x, weight, bias));
        List<Slot> forwardWrites = new ArrayList<>(List.of(out, means, rstds));
        Optional<Slot> added = Optional.empty();
        Optional<Slot> sum = Optional.empty();
        if (residual) {
            added = Optional.of(p.input("residual", dtype, tokens, cols, layout, Fill.normal(1)));
            sum = Optional.of(p.output("sum", dtype, tokens, cols, layout, rows));
            forwardReads.add(added.get());
            forwardWrites.add(sum.get());
        }
        Slot s = sum.orElse(x);
        Slot dOut = p.input("dOut", dtype, tokens, cols, layout, Fill.normal(1));
        Slot dx = p.output("dx", dtype, tokens, cols, layout, rows);
        List<Slot> backwardReads = new ArrayList<>(List.of(dOut, s, weight, means, rstds));
        List<Slot> backwardWrites = new ArrayList<>(List.of(dx));
        Optional<Slot> past = Optional.empty();
        if (dSum) {
            past = Optional.of(p.input("dSum", dtype, tokens, cols, layout, Fill.normal(1)));
            backwardReads.add(past.get());
        }
        Optional<Slot> dWeight = weightGradient.declare(p, "dWeight", cols, tokens, layout);
        Optional<Slot> dBias = weightGradient.declare(p, "dBias", cols, tokens, layout);
        dWeight.ifPresent(backwardWrites::add);
        dBias.ifPresent(backwardWrites::add);
        Optional<Slot> residualSlot = added;
        Optional<Slot> sumSlot = sum;
        Optional<Slot> dSumSlot = past;
        p.pass(
                "forward",
                7.0 * tokens * cols,
                forwardReads,
                forwardWrites,
                (k, t) ->
                        k.forward(
                                t.apply(out),
                                t.apply(stats),
                                sumSlot.map(t),
                                t.apply(x),
                                residualSlot.map(t),
                                t.apply(weight),
                                t.apply(bias),
                                EPS));
        p.pass(
                "backward",
                11.0 * tokens * cols,
                backwardReads,
                backwardWrites,
                (k, t) ->
                        k.backward(
                                t.apply(dx),
                                dWeight.map(t).map(weightGradient::grad),
                                dBias.map(t).map(weightGradient::grad),
                                t.apply(dOut),
                                dSumSlot.map(t),
                                t.apply(s),
                                t.apply(weight),
                                t.apply(stats)));
        p.cotangent(out, dOut);
        past.ifPresent(slot -> p.cotangent(s, slot));
        p.gradient(x, dx);
        added.ifPresent(slot -> p.gradient(slot, dx));
        dWeight.ifPresent(slot -> p.gradient(weight, slot));
        dBias.ifPresent(slot -> p.gradient(bias, slot));
        return p;
    }
}
