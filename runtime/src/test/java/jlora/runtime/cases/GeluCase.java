package jlora.runtime.cases;

import static jlora.runtime.kernel.GeluKernel.Form.ERF;
import static jlora.runtime.kernel.GeluKernel.Form.TANH;
import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.tensor.DType;

import java.util.ArrayList;
import java.util.List;

/**
 * GELU and its gradient.
 *
 * @param sigma of the input: large ones reach where the function is 0 or x
 */
public record GeluCase(
        int tokens, int cols, DType dtype, GeluKernel.Form form, double sigma, Layout layout)
        implements OpCase<GeluKernel> {
    public static List<OpCase<GeluKernel>> all() {
        List<OpCase<GeluKernel>> cases = new ArrayList<>();
        for (GeluKernel.Form form : List.of(ERF, TANH)) {
            for (DType dtype : List.of(F32, BF16)) {
                cases.add(new GeluCase(1, 1, dtype, form, 1, Layout.ODD));
                cases.add(new GeluCase(5, 123, dtype, form, 1, Layout.ODD));
                cases.add(new GeluCase(40, 48, dtype, form, 2, Layout.PADDED));
                cases.add(new GeluCase(3, 64, dtype, form, 6, Layout.DENSE));
                cases.add(new GeluCase(3, 64, dtype, form, 1000, Layout.DENSE));
            }
        }
        return cases;
    }

    /** GPT-2, 1024 tokens. */
    public static List<OpCase<GeluKernel>> speed() {
        return List.of(
                new GeluCase(1024, 3072, F32, TANH, 1, Layout.PADDED),
                new GeluCase(1024, 3072, F32, ERF, 1, Layout.PADDED),
                new GeluCase(1024, 3072, BF16, TANH, 1, Layout.PADDED));
    }

    @Override
    public Problem<GeluKernel> problem() {
        var p = new Problem<GeluKernel>("gelu " + this);
        Tolerance tolerance =
                Tolerance.f32(dtype, 1)
                        .plusAbsolute(
                                1e-6, "1 + erf cancels below zero, where the results are small");
        Slot x = p.input("x", dtype, tokens, cols, layout, Fill.normal(sigma));
        Slot out = p.output("out", dtype, tokens, cols, layout, tolerance);
        Slot dOut = p.input("dOut", dtype, tokens, cols, layout, Fill.normal(1));
        Slot dx = p.output("dx", dtype, tokens, cols, layout, tolerance);
        double elements = (double) tokens * cols;
        p.pass(
                "forward",
                10 * elements,
                List.of(x),
                List.of(out),
                (k, t) -> k.forward(t.apply(out), t.apply(x), form));
        p.pass(
                "backward",
                20 * elements,
                List.of(dOut, x),
                List.of(dx),
                (k, t) -> k.backward(t.apply(dx), t.apply(dOut), t.apply(x), form));
        p.cotangent(out, dOut);
        if (sigma <= 2) {
            p.gradient(x, dx);
        }
        return p;
    }
}
