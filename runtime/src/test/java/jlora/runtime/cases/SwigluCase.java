package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.SwigluKernel;
import jlora.runtime.tensor.DType;

import java.util.List;

/**
 * SwiGLU and its gradient.
 *
 * @param sigma of the gate: large ones reach where the sigmoid saturates
 */
public record SwigluCase(int tokens, int cols, DType dtype, double sigma, Layout layout)
        implements OpCase<SwigluKernel> {
    public static List<OpCase<SwigluKernel>> all() {
        return List.of(
                new SwigluCase(1, 1, F32, 1, Layout.ODD),
                new SwigluCase(5, 123, F32, 2, Layout.ODD),
                new SwigluCase(65, 48, F32, 1, Layout.PADDED),
                new SwigluCase(3, 64, F32, 40, Layout.DENSE),
                new SwigluCase(3, 64, F32, 1000, Layout.DENSE),
                new SwigluCase(1, 1, BF16, 1, Layout.ODD),
                new SwigluCase(5, 123, BF16, 2, Layout.ODD),
                new SwigluCase(65, 48, BF16, 1, Layout.PADDED),
                new SwigluCase(3, 64, BF16, 1000, Layout.DENSE),
                // So wide that a GPU's threads go over several rows each.
                new SwigluCase(5, 8199, BF16, 1, Layout.ODD),
                new SwigluCase(5, 33_024, F32, 1, Layout.DENSE));
    }

    /** A 0.5B Llama, 512 tokens. */
    public static List<OpCase<SwigluKernel>> speed() {
        return List.of(
                new SwigluCase(512, 4864, F32, 1, Layout.PADDED),
                new SwigluCase(512, 4864, BF16, 1, Layout.PADDED));
    }

    @Override
    public Problem<SwigluKernel> problem() {
        var p = new Problem<SwigluKernel>("swiglu " + this);
        Fill fill = (random, r, c) -> (c < cols ? sigma : 1) * random.nextGaussian();
        Tolerance tolerance = Tolerance.f32(dtype, 1);
        Slot gateUp = p.input("gateUp", dtype, tokens, 2L * cols, layout, fill);
        Slot out = p.output("out", dtype, tokens, cols, layout, tolerance);
        Slot dOut = p.input("dOut", dtype, tokens, cols, layout, Fill.normal(1));
        Slot dGateUp = p.output("dGateUp", dtype, tokens, 2L * cols, layout, tolerance);
        double elements = (double) tokens * cols;
        p.pass(
                "forward",
                5 * elements,
                List.of(gateUp),
                List.of(out),
                (k, t) -> k.forward(t.apply(out), t.apply(gateUp)));
        p.pass(
                "backward",
                12 * elements,
                List.of(dOut, gateUp),
                List.of(dGateUp),
                (k, t) -> k.backward(t.apply(dGateUp), t.apply(dOut), t.apply(gateUp)));
        p.cotangent(out, dOut);
        if (sigma <= 2) {
            p.gradient(gateUp, dGateUp);
        }
        return p;
    }
}
