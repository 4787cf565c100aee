package jlora.runtime.op;

import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Records {@link jlora.runtime.kernel.LayerNormKernel}. */
public final class LayerNorm {
    private LayerNorm() {}

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
            Tensor bias,
            float eps,
            long pad) {
        Check.cols("layer_norm", weight, x.cols());
        Check.cols("layer_norm", bias, x.cols());
        residual.ifPresent(r -> Check.shape("layer_norm", r, x.rows(), x.cols()));
        Tensor out = trace.activation(name, trace.dtype(), x.rows(), x.cols(), pad, 0);
        Tensor stats = trace.activation(name + ".stats", DType.F32, x.rows(), 2, 0, 0);
        Optional<Tensor> written =
                residual.map(r -> trace.activation(name + ".sum", x.rows(), x.cols()));
        Tensor sum = written.orElse(x);
        List<Tensor> reads = new ArrayList<>(List.of(x, weight, bias));
        residual.ifPresent(reads::add);
        List<Tensor> writes = new ArrayList<>(List.of(out, stats));
        written.ifPresent(writes::add);
        Step again =
                Step.of(
                        "layer_norm",
                        List.of(sum, weight, bias),
                        List.of(out, stats),
                        k ->
                                k.layerNorm()
                                        .forward(
                                                out,
                                                stats,
                                                Optional.empty(),
                                                sum,
                                                Optional.empty(),
                                                weight,
                                                bias,
                                                eps));
        trace.step(
                Step.of(
                                "layer_norm",
                                reads,
                                writes,
                                k ->
                                        k.layerNorm()
                                                .forward(
                                                        out, stats, written, x, residual, weight,
                                                        bias, eps))
                        .flops(7 * x.elements())
                        .markCheap()
                        .withReplay(again));

        List<Tensor> outputs = new ArrayList<>(List.of(out));
        written.ifPresent(outputs::add);
        trace.backward(
                reads,
                outputs,
                g -> {
                    Tensor dOut = g.of(out);
                    Optional<Tensor> dSum = g.maybe(sum);
                    Tensor dx = g.ofSum(x, residual);
                    var dWeight = g.parameter(weight);
                    var dBias = g.parameter(bias);
                    List<Tensor> from = new ArrayList<>(List.of(dOut, sum, weight, stats));
                    dSum.ifPresent(from::add);
                    List<Tensor> to = new ArrayList<>(List.of(dx));
                    dWeight.ifPresent(d -> to.add(d.tensor()));
                    dBias.ifPresent(d -> to.add(d.tensor()));
                    g.step(
                            Step.of(
                                            "layer_norm.backward",
                                            from,
                                            to,
                                            k ->
                                                    k.layerNorm()
                                                            .backward(
                                                                    dx, dWeight, dBias, dOut, dSum,
                                                                    sum, weight, stats))
                                    .flops(11 * x.elements()));
                });
        return new Normed(sum, out);
    }
}
