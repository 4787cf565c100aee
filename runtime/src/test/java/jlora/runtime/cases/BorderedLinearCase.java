package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;

import java.util.List;
import java.util.Optional;

/**
 * The products of a low-rank adapter over a bordered weight [W0 | sB; A | 0]: results in the pad
 * columns behind the very rows that are read, and products that run over rows and pad columns
 * together.
 */
public record BorderedLinearCase(int tokens, int in, int out, int rank, DType dtype)
        implements OpCase<LinearKernel> {
    private static final float SCALE = 2;

    @Override
    public Problem<LinearKernel> problem() {
        var p = new Problem<LinearKernel>("linear " + this);
        Layout border = new Layout(64, rank);
        Optional<Fill> none = Optional.empty();
        Optional<Tolerance> unwritten = Optional.empty();
        Slot x = p.input("x", dtype, tokens, in, border, Fill.normal(1));
        Slot u = p.columns("u", x, in, rank, none, Optional.of(LinearCase.products(dtype, in)));
        Slot xu = p.columns("x|u", x, 0, in + rank, none, unwritten);
        Slot dy = p.input("dOut", dtype, tokens, out, border, Fill.normal(1));
        Slot du =
                p.columns("dU", dy, out, rank, none, Optional.of(LinearCase.products(dtype, out)));
        Slot dydu = p.columns("dOut|dU", dy, 0, out + rank, none, unwritten);
        // The corner behind A takes part in no product, so it stays poisoned.
        Slot w0 = p.input("W0", dtype, out + rank, in, border, Fill.normal(0.5));
        Optional<Fill> values = Optional.of(Fill.normal(0.5));
        Slot b = p.block("sB", w0, 0, out, in, rank, values, unwritten);
        Slot wide = p.block("W0|sB", w0, 0, out, 0, in + rank, none, unwritten);
        Slot a = p.block("A", w0, out, rank, 0, in, none, unwritten);
        Slot y = p.output("out", dtype, tokens, out, border, LinearCase.products(dtype, in + rank));
        Slot dx = p.output("dx", dtype, tokens, in, border, LinearCase.products(dtype, out + rank));
        Slot dA =
                p.target("dA", F32, rank, in, Layout.DENSE, true, LinearCase.products(F32, tokens));
        Slot dB =
                p.target(
                        "dB", F32, out, rank, Layout.DENSE, true, LinearCase.products(F32, tokens));
        double thin = 2.0 * tokens * rank;
        p.pass(
                "u",
                thin * in,
                List.of(x, a),
                List.of(u),
                (k, t) -> k.forward(t.apply(u), t.apply(x), t.apply(a), Optional.empty()));
        p.pass(
                "forward",
                2.0 * tokens * out * (in + rank),
                List.of(xu, wide),
                List.of(y),
                (k, t) -> k.forward(t.apply(y), t.apply(xu), t.apply(wide), Optional.empty()));
        p.pass(
                "dU",
                thin * out,
                List.of(dy, b),
                List.of(du),
                (k, t) -> k.backwardInput(Grad.overwrite(t.apply(du)), t.apply(dy), t.apply(b)));
        p.pass(
                "dx",
                2.0 * tokens * in * (out + rank),
                List.of(dydu, w0),
                List.of(dx),
                (k, t) -> k.backwardInput(Grad.overwrite(t.apply(dx)), t.apply(dydu), t.apply(w0)));
        p.pass(
                "dA",
                thin * in,
                List.of(du, x),
                List.of(dA),
                (k, t) ->
                        k.backwardWeight(Grad.accumulate(t.apply(dA)), t.apply(du), t.apply(x), 1));
        p.pass(
                "dB",
                thin * out,
                List.of(dy, u),
                List.of(dB),
                (k, t) ->
                        k.backwardWeight(
                                Grad.accumulate(t.apply(dB)), t.apply(dy), t.apply(u), SCALE));
        return p;
    }
}
