package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;

import java.util.List;
import java.util.Optional;

/** Products with a weight [out, in] and their gradients. */
public record LinearCase(
        int tokens,
        int in,
        int out,
        DType operands,
        DType results,
        boolean bias,
        boolean accumulate,
        Layout layout)
        implements OpCase<LinearKernel> {
    private static final float WEIGHT_GRADIENT_SCALE = 0.75f;

    public static List<OpCase<LinearKernel>> all() {
        return List.of(
                new LinearCase(5, 7, 3, F32, F32, true, false, Layout.DENSE),
                new LinearCase(5, 7, 3, F32, F32, true, true, Layout.ODD),
                new LinearCase(1, 1, 1, F32, F32, true, false, Layout.ODD),
                new LinearCase(1, 123, 5, F32, F32, false, false, Layout.ODD),
                new LinearCase(5, 1, 123, F32, F32, false, true, Layout.PADDED),
                new LinearCase(123, 5, 1, F32, F32, true, true, Layout.DENSE),
                new LinearCase(33, 130, 65, F32, F32, true, false, Layout.PADDED),
                new LinearCase(64, 64, 96, F32, F32, false, true, Layout.DENSE),
                new LinearCase(16, 8, 48, F32, F32, false, false, Layout.PADDED),
                new LinearCase(5, 7, 3, BF16, BF16, true, false, Layout.DENSE),
                new LinearCase(5, 7, 3, BF16, BF16, true, true, Layout.ODD),
                new LinearCase(1, 123, 5, BF16, F32, false, true, Layout.ODD),
                new LinearCase(5, 1, 123, BF16, F32, false, false, Layout.PADDED),
                new LinearCase(123, 5, 1, BF16, BF16, true, false, Layout.ODD),
                new LinearCase(33, 130, 65, BF16, F32, true, false, Layout.PADDED),
                new LinearCase(33, 130, 65, BF16, BF16, true, true, Layout.ODD),
                new LinearCase(64, 64, 96, BF16, BF16, false, false, Layout.DENSE),
                new BorderedLinearCase(6, 10, 12, 4, F32),
                new BorderedLinearCase(32, 64, 48, 16, F32),
                new BorderedLinearCase(1, 5, 3, 2, F32),
                new BorderedLinearCase(6, 10, 12, 4, BF16),
                new BorderedLinearCase(32, 64, 48, 16, BF16));
    }

    /** Those of GPT-2 and of a small Llama, 512 tokens. */
    public static List<OpCase<LinearKernel>> speed() {
        return List.of(
                new LinearCase(512, 768, 768, F32, F32, false, false, Layout.DENSE),
                new LinearCase(512, 768, 3072, F32, F32, true, false, Layout.PADDED),
                new LinearCase(512, 768, 16, F32, F32, false, false, Layout.PADDED),
                new LinearCase(512, 768, 3072, BF16, BF16, true, false, Layout.PADDED),
                new BorderedLinearCase(512, 896, 1152, 48, F32),
                new BorderedLinearCase(512, 896, 1152, 48, BF16));
    }

    @Override
    public Problem<LinearKernel> problem() {
        var p = new Problem<LinearKernel>("linear " + this);
        Slot x = p.input("x", operands, tokens, in, layout, Fill.normal(1));
        Slot weight = p.input("weight", operands, out, in, layout, Fill.normal(0.5));
        Optional<Slot> b =
                bias
                        ? Optional.of(p.input("bias", operands, 1, out, layout, Fill.normal(1)))
                        : Optional.empty();
        Slot y = p.output("out", results, tokens, out, layout, products(results, in));
        Slot dy = p.input("dOut", operands, tokens, out, layout, Fill.normal(1));
        Slot dx = p.target("dx", results, tokens, in, layout, accumulate, products(results, out));
        Slot dWeight = p.target("dWeight", F32, out, in, layout, accumulate, products(F32, tokens));
        Slot dBias = p.target("dBias", F32, 1, out, layout, accumulate, products(F32, tokens));
        double flops = 2.0 * tokens * in * out;
        p.pass(
                "forward",
                flops,
                b.isPresent() ? List.of(x, weight, b.get()) : List.of(x, weight),
                List.of(y),
                (k, t) -> k.forward(t.apply(y), t.apply(x), t.apply(weight), b.map(t)));
        p.pass(
                "backwardInput",
                flops,
                List.of(dy, weight),
                List.of(dx),
                (k, t) ->
                        k.backwardInput(
                                new Grad(t.apply(dx), accumulate), t.apply(dy), t.apply(weight)));
        p.pass(
                "backwardWeight",
                flops,
                List.of(dy, x),
                List.of(dWeight),
                (k, t) ->
                        k.backwardWeight(
                                new Grad(t.apply(dWeight), accumulate),
                                t.apply(dy),
                                t.apply(x),
                                WEIGHT_GRADIENT_SCALE));
        p.pass(
                "backwardBias",
                (double) tokens * out,
                List.of(dy),
                List.of(dBias),
                (k, t) -> k.backwardBias(new Grad(t.apply(dBias), accumulate), t.apply(dy)));
        p.cotangent(y, dy);
        p.gradient(x, dx);
        p.gradient(weight, dWeight, WEIGHT_GRADIENT_SCALE);
        b.ifPresent(slot -> p.gradient(slot, dBias));
        return p;
    }

    static Tolerance products(DType stored, long depth) {
        return Tolerance.f32(stored, depth)
                .times(2, "bf16 dot-product instructions round and flush in their own way");
    }
}
