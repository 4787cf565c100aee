package jlora.runtime.op;

import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Records {@link jlora.runtime.kernel.RmsNormKernel}. */
public final class RmsNorm {
    private RmsNorm() {}

    /**
     * @param residual added to x first, where there is something to add
     * @param pad columns behind each output row for the low-rank part of the product that reads it
     */
    public static Normed apply(
            Trace trace,
            String name,
            Tensor x,
            Optional<Tensor> residual,
            Tensor weight,
            float eps,
            long pad) {
        Check.cols("rms_norm", weight, x.cols());
        residual.ifPresent(r -> Check.shape("rms_norm", r, x.rows(), x.cols()));
        Tensor out = trace.activation(name, trace.dtype(), x.rows(), x.cols(), pad, 0);
        Tensor rstd = trace.activation(name + ".rstd", DType.F32, x.rows(), 1, 0, 0);
        Optional<Tensor> written =
                residual.map(r -> trace.activation(name + ".sum", x.rows(), x.cols()));
        Tensor sum = written.orElse(x);
        List<Tensor> reads = new ArrayList<>(List.of(x, weight));
        residual.ifPresent(reads::add);
        List<Tensor> writes = new ArrayList<>(List.of(out, rstd));
        written.ifPresent(writes::add);
        Step again =
                Step.of(
                        "rms_norm",
                        List.of(sum, weight),
                        List.of(out, rstd),
                        k ->
                                k.rmsNorm()
                                        .forward(
                                                out,
                                                rstd,
                                                Optional.empty(),
                                                sum,
                                                Optional.empty(),
                                                weight,
                                                eps));
        trace.step(
                Step.of(
                                "rms_norm",
                                reads,
                                writes,
                                k ->
                                        k.rmsNorm()
                                                .forward(
                                                        out, rstd, written, x, residual, weight,
                                                        eps))
                        .flops(4 * x.elements())
                        .markCheap()
                        .withReplay(again));

        List<Tensor> inputs = new ArrayList<>(reads);
        List<Tensor> outputs = new ArrayList<>(List.of(out));
        written.ifPresent(outputs::add);
        trace.backward(
                inputs,
                outputs,
                g -> {
                    Tensor dOut = g.of(out);
                    Optional<Tensor> dSum = g.maybe(sum);
                    Tensor dx = g.ofSum(x, residual);
                    var dWeight = g.parameter(weight);
                    List<Tensor> from = new ArrayList<>(List.of(dOut, sum, weight, rstd));
                    dSum.ifPresent(from::add);
                    List<Tensor> to = new ArrayList<>(List.of(dx));
                    dWeight.ifPresent(d -> to.add(d.tensor()));
                    g.step(
                            Step.of(
                                            "rms_norm.backward",
                                            from,
                                            to,
                                            k ->
                                                    k.rmsNorm()
                                                            .backward(
                                                                    dx, dWeight, dOut, dSum, sum,
                                                                    weight, rstd))
                                    .flops(8 * x.elements()));
                });
        return new Normed(sum, out);
    }
}
