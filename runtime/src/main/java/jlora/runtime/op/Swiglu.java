package jlora.runtime.op;

import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.Tensor;

import java.util.List;

/** Records {@link jlora.runtime.kernel.SwigluKernel}. */
public final class Swiglu {
    private Swiglu() {}

    /**
     * @param gateUp [T,2F]
     * @param pad columns behind each output row for the low-rank part of the product that reads it
     * @return [T,F]
     */
    public static Tensor apply(Trace trace, Tensor gateUp, long pad) {
        Tensor out =
                trace.activation("swiglu", trace.dtype(), gateUp.rows(), gateUp.cols() / 2, pad, 0);
        Check.cols("swiglu", gateUp, 2 * out.cols());
        trace.step(
                Step.of(
                                "swiglu",
                                List.of(gateUp),
                                List.of(out),
                                k -> k.swiglu().forward(out, gateUp))
                        .flops(5 * out.elements())
                        .markCheap());
        trace.backward(
                List.of(gateUp),
                List.of(out),
                g -> {
                    Tensor dOut = g.of(out);
                    Tensor dGateUp = g.only(gateUp);
                    g.step(
                            Step.of(
                                            "swiglu.backward",
                                            List.of(dOut, gateUp),
                                            List.of(dGateUp),
                                            k -> k.swiglu().backward(dGateUp, dOut, gateUp))
                                    .flops(10 * out.elements()));
                });
        return out;
    }
}
