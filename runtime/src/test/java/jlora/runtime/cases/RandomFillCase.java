package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.RandomFillKernel;
import jlora.runtime.tensor.DType;

import java.util.ArrayList;
import java.util.List;

/**
 * Normal numbers and one value; rows whose length is no multiple of four share counters, and so do
 * parts of one tensor.
 */
public record RandomFillCase(
        int rows,
        int cols,
        long first,
        long seed,
        int stream,
        double standardDeviation,
        DType dtype,
        Layout layout)
        implements OpCase<RandomFillKernel> {
    public static List<OpCase<RandomFillKernel>> all() {
        List<OpCase<RandomFillKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(new RandomFillCase(1, 1, 0, 0, 0, 1, dtype, Layout.ODD));
            cases.add(new RandomFillCase(7, 13, 6, -1, -1, 0.02, dtype, Layout.ODD));
            cases.add(
                    new RandomFillCase(33, 64, 1L << 34, 1L << 40, 7, 0.02, dtype, Layout.PADDED));
            cases.add(new RandomFillCase(70, 2050, 4101, 3, 1 << 31, 1.5, dtype, Layout.DENSE));
        }
        return cases;
    }

    /** A matrix of a 0.5B Llama. */
    public static List<OpCase<RandomFillKernel>> speed() {
        return List.of(
                new RandomFillCase(4864, 896, 0, 1, 1, 0.02, F32, Layout.DENSE),
                new RandomFillCase(4864, 896, 0, 1, 1, 0.02, BF16, Layout.DENSE));
    }

    @Override
    public Problem<RandomFillKernel> problem() {
        var p = new Problem<RandomFillKernel>("random_fill " + this);
        Tolerance numbers =
                dtype == F32
                        ? new Tolerance(
                                0x1p-23, 0, "f64 functions of other libraries, rounded once to f32")
                        : Tolerance.f32(dtype, 1);
        Slot normal = p.output("normal", dtype, rows, cols, layout, numbers);
        Slot constant =
                p.output("constant", dtype, rows, cols, layout, Tolerance.exact("one value"));
        double elements = (double) rows * cols;
        p.pass(
                "normal",
                50 * elements,
                List.of(),
                List.of(normal),
                (k, t) -> k.normal(t.apply(normal), first, seed, stream, standardDeviation));
        p.pass(
                "constant",
                0,
                List.of(),
                List.of(constant),
                (k, t) -> k.constant(t.apply(constant), 1));
        return p;
    }
}
