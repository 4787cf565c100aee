package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.RmsNormKernel;
import jlora.runtime.tensor.DType;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * RMS norm of a residual stream, and its gradients. The tolerance of rstd leaves no room for a norm
 * of the sum before it is rounded for storage: a recomputed norm, which reads the stored sum, has
 * to be the same.
 */
public record RmsNormCase(
        int tokens,
        int cols,
        DType dtype,
        boolean residual,
        boolean dSum,
        WeightGradient weightGradient,
        float eps,
        Layout layout)
        implements OpCase<RmsNormKernel> {
    public static List<OpCase<RmsNormKernel>> all() {
        List<OpCase<RmsNormKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            // One column is a sign function but for eps: a large one keeps it smooth.
            cases.add(of(3, 1, dtype, false, false, WeightGradient.OVERWRITE, 0.5f, Layout.ODD));
            cases.add(of(1, 7, dtype, true, true, WeightGradient.ACCUMULATE, 1e-5f, Layout.ODD));
            cases.add(of(5, 123, dtype, false, true, WeightGradient.NONE, 1e-6f, Layout.ODD));
            cases.add(
                    of(5, 123, dtype, true, false, WeightGradient.OVERWRITE, 1e-5f, Layout.DENSE));
            cases.add(
                    of(70, 64, dtype, true, true, WeightGradient.ACCUMULATE, 1e-5f, Layout.PADDED));
            cases.add(
                    of(33, 160, dtype, true, true, WeightGradient.OVERWRITE, 1e-5f, Layout.DENSE));
            // More rows than a GPU sums gradients of at a time.
            cases.add(
                    of(
                            110,
                            24,
                            dtype,
                            false,
                            true,
                            WeightGradient.ACCUMULATE,
                            1e-5f,
                            Layout.PADDED));
            // Rows that a block holds, with few and with many elements per thread, and unaligned.
            cases.add(of(6, 1024, dtype, true, true, WeightGradient.NONE, 1e-5f, Layout.PADDED));
            cases.add(of(9, 768, dtype, true, true, WeightGradient.OVERWRITE, 1e-5f, Layout.DENSE));
            cases.add(
                    of(
                            20,
                            2056,
                            dtype,
                            true,
                            true,
                            WeightGradient.OVERWRITE,
                            1e-5f,
                            Layout.PADDED));
            cases.add(
                    of(
                            3,
                            16_384,
                            dtype,
                            true,
                            true,
                            WeightGradient.ACCUMULATE,
                            1e-5f,
                            Layout.DENSE));
            cases.add(of(2, 1543, dtype, true, true, WeightGradient.ACCUMULATE, 1e-5f, Layout.ODD));
        }
        return cases;
    }

    /** A 0.5B Llama, 512 tokens. */
    public static List<OpCase<RmsNormKernel>> speed() {
        return List.of(
                of(512, 896, F32, true, true, WeightGradient.NONE, 1e-5f, Layout.PADDED),
                of(512, 896, F32, true, true, WeightGradient.ACCUMULATE, 1e-5f, Layout.PADDED),
                of(512, 896, BF16, true, true, WeightGradient.NONE, 1e-5f, Layout.PADDED));
    }

    private static RmsNormCase of(
            int tokens,
            int cols,
            DType dtype,
            boolean residual,
            boolean dSum,
            WeightGradient weightGradient,
            float eps,
            Layout layout) {
        return new RmsNormCase(tokens, cols, dtype, residual, dSum, weightGradient, eps, layout);
    }

    @Override
    public Problem<RmsNormKernel> problem() {
        var p = new Problem<RmsNormKernel>("rms_norm " + this);
        Tolerance rows = Tolerance.f32(dtype, cols);
        Slot x = p.input("x", dtype, tokens, cols, layout, Fill.normal(1));
        Slot weight = p.input("weight", dtype, 1, cols, layout, Fill.normal(1, 0.2));
        Slot out = p.output("out", dtype, tokens, cols, layout, rows);
        Slot rstd = p.output("rstd", F32, tokens, 1, layout, Tolerance.f32(F32, cols));
        List<Slot> forwardReads = new ArrayList<>(List.of(x, weight));
        List<Slot> forwardWrites = new ArrayList<>(List.of(out, rstd));
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
        List<Slot> backwardReads = new ArrayList<>(List.of(dOut, s, weight, rstd));
        List<Slot> backwardWrites = new ArrayList<>(List.of(dx));
        Optional<Slot> past = Optional.empty();
        if (dSum) {
            past = Optional.of(p.input("dSum", dtype, tokens, cols, layout, Fill.normal(1)));
            backwardReads.add(past.get());
        }
        Optional<Slot> dWeight = weightGradient.declare(p, "dWeight", cols, tokens, layout);
        dWeight.ifPresent(backwardWrites::add);
        Optional<Slot> residualSlot = added;
        Optional<Slot> sumSlot = sum;
        Optional<Slot> dSumSlot = past;
        p.pass(
                "forward",
                4.0 * tokens * cols,
                forwardReads,
                forwardWrites,
                (k, t) ->
                        k.forward(
                                t.apply(out),
                                t.apply(rstd),
                                sumSlot.map(t),
                                t.apply(x),
                                residualSlot.map(t),
                                t.apply(weight),
                                eps));
        p.pass(
                "backward",
                8.0 * tokens * cols,
                backwardReads,
                backwardWrites,
                (k, t) ->
                        k.backward(
                                t.apply(dx),
                                dWeight.map(t).map(weightGradient::grad),
                                t.apply(dOut),
                                dSumSlot.map(t),
                                t.apply(s),
                                t.apply(weight),
                                t.apply(rstd)));
        p.cotangent(out, dOut);
        past.ifPresent(slot -> p.cotangent(s, slot));
        p.gradient(x, dx);
        added.ifPresent(slot -> p.gradient(slot, dx));
        dWeight.ifPresent(slot -> p.gradient(weight, slot));
        return p;
    }
}
