package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;

/** One module's factors merged into its rows of a weight, and taken off again. */
public record MergeCase(int out, int in, int rank, double sigma, DType dtype)
        implements OpCase<MergeKernel> {
    public static List<OpCase<MergeKernel>> all() {
        List<OpCase<MergeKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(new MergeCase(1, 1, 1, 1, dtype));
            cases.add(new MergeCase(3, 7, 2, 0.02, dtype));
            cases.add(new MergeCase(5, 513, 3, 1e-3, dtype));
            cases.add(new MergeCase(129, 40, 8, 1e30, dtype));
            cases.add(new MergeCase(130, 600, 16, 1e-4, dtype));
        }
        return cases;
    }

    /** Rank 16 on a projection of a 0.5B and of an 8B model. */
    public static List<OpCase<MergeKernel>> speed() {
        return List.of(
                new MergeCase(896, 896, 16, 1e-4, F32),
                new MergeCase(4096, 4096, 16, 1e-4, F32),
                new MergeCase(4096, 4096, 16, 1e-4, BF16),
                new MergeCase(4096, 4096, 8, 1e-4, BF16));
    }

    @Override
    public Problem<MergeKernel> problem() {
        var p = new Problem<MergeKernel>("merge " + this);
        Tolerance exact = Tolerance.exact("the order of every sum is part of the contract");
        Fill factor = Fill.normal(Math.sqrt(sigma / Math.sqrt(rank)));
        Layout border = new Layout(64, rank + 1);
        Slot w = p.updated("W", dtype, out, in, border, Fill.normal(0.02), exact);
        Slot a = p.input("A", dtype, rank, in, Layout.ODD, factor);
        Slot b = p.input("B", dtype, out, rank, Layout.ODD, factor);
        double flops = 2.0 * out * in * rank;
        List<Slot> factors = List.of(a, b);
        p.pass("merge", flops, factors, List.of(w), (k, t) -> merge(k, t, w, a, b, false));
        p.pass(
                "merge and unmerge",
                2 * flops,
                factors,
                List.of(w),
                (k, t) -> merge(k, t, w, a, b, true));
        return p;
    }

    private static void merge(
            MergeKernel kernel,
            Function<Slot, Tensor> tensors,
            Slot weight,
            Slot low,
            Slot high,
            boolean back) {
        Tensor w = tensors.apply(weight);
        var part = new MergeKernel.Part(w, tensors.apply(low), tensors.apply(high));
        long[] before = kernel.fingerprints(List.of(w));
        try (Corrections corrections = kernel.merge(List.of(part)).orElseThrow()) {
            if (back) {
                kernel.unmerge(List.of(part), corrections);
                if (!Arrays.equals(kernel.fingerprints(List.of(w)), before)) {
                    throw new AssertionError("unmerging did not give the weight back");
                }
            }
        }
    }
}
