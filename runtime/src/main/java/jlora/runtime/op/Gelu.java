package jlora.runtime.op;

import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.Tensor;

import java.util.List;

/** Records {@link GeluKernel}. */
public final class Gelu {
    private Gelu() {}

    /**
     * @param pad columns behind each output row for the low-rank part of the product that reads it
     * @return [T,F], as x
     */
    public static Tensor apply(Trace trace, Tensor x, GeluKernel.Form form, long pad) {
        Tensor out = trace.activation("gelu", trace.dtype(), x.rows(), x.cols(), pad, 0);
        trace.step(
                Step.of("gelu", List.of(x), List.of(out), k -> k.gelu().forward(out, x, form))
                        .flops(10 * x.elements())
                        .markCheap());
        trace.backward(
                List.of(x),
                List.of(out),
                g -> {
                    Tensor dOut = g.of(out);
                    Tensor dx = g.only(x);
                    g.step(
                            Step.of(
                                            "gelu.backward",
                                            List.of(dOut, x),
                                            List.of(dx),
                                            k -> k.gelu().backward(dx, dOut, x, form))
                                    .flops(16 * x.elements()));
                });
        return out;
    }
}
