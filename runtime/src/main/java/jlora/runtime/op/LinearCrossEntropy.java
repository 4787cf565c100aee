package jlora.runtime.op;

import jlora.runtime.kernel.LinearCrossEntropyKernel.Workspace;
import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;

/** Records {@link jlora.runtime.kernel.LinearCrossEntropyKernel}. */
public final class LinearCrossEntropy {
    /** What matrix products of every library want of a row: 16 bytes of bf16. */
    private static final long ROW_MULTIPLE = 8;

    private LinearCrossEntropy() {}

    /**
     * @param loss f32 [1,1], kept after the run
     * @param x [T,K]
     * @param weight [V,K]
     * @param targets i32 [1,T]
     * @param scale f32 [1,T]: what each row's loss is multiplied by
     * @param mostTargets at most so many rows have a target
     * @param chunk rows whose logits exist at one time
     */
    public static void apply(
            Trace trace,
            Tensor loss,
            Tensor x,
            Tensor weight,
            Tensor targets,
            Tensor scale,
            float labelSmoothing,
            long mostTargets,
            long chunk) {
        Check.cols("linear_cross_entropy", weight, x.cols());
        Check.shape("linear_cross_entropy", targets, 1, x.rows());
        Check.shape("linear_cross_entropy", scale, 1, x.rows());
        boolean gradient =
                trace.training() && (trace.needsGradient(x) || trace.needsGradient(weight));
        Workspace work = workspace(trace, x, weight, Math.min(chunk, x.rows()));
        List<Tensor> reads = List.of(x, weight, targets, scale);
        List<Tensor> writes =
                new ArrayList<>(List.of(loss, work.logits(), work.rows(), work.dRows()));
        if (work.dLogits() != work.logits()) {
            writes.add(work.dLogits());
        }
        long flops = 2 * mostTargets * weight.elements();
        if (!gradient) {
            trace.step(
                    Step.of(
                                    "linear_cross_entropy",
                                    reads,
                                    writes,
                                    k ->
                                            k.linearCrossEntropy()
                                                    .forward(
                                                            loss,
                                                            x,
                                                            weight,
                                                            targets,
                                                            scale,
                                                            labelSmoothing,
                                                            mostTargets,
                                                            work))
                            .flops(flops));
            return;
        }
        // The gradient is formed where the logits are at hand, in the forward pass; dLoss is 1.
        Tensor dx =
                trace.activation(
                        "d(" + x.name() + ")",
                        trace.dtype(),
                        x.rows(),
                        x.cols(),
                        trace.gradientPad(x),
                        0);
        var dWeight = trace.parameterGradient(weight);
        writes.add(dx);
        dWeight.ifPresent(d -> writes.add(d.tensor()));
        trace.step(
                Step.of(
                                "linear_cross_entropy",
                                reads,
                                writes,
                                k ->
                                        k.linearCrossEntropy()
                                                .forwardBackward(
                                                        loss,
                                                        dx,
                                                        dWeight,
                                                        x,
                                                        weight,
                                                        targets,
                                                        scale,
                                                        labelSmoothing,
                                                        mostTargets,
                                                        work))
                        .flops(dWeight.isPresent() ? 3 * flops : 2 * flops));
        trace.given(x, dx);
    }

    private static Workspace workspace(Trace trace, Tensor x, Tensor weight, long chunk) {
        Tensor logits = logits("logits", DType.F32, chunk, weight.rows());
        Tensor dLogits =
                x.dtype() == DType.F32
                        ? logits
                        : logits("d(logits)", x.dtype(), chunk, weight.rows());
        return new Workspace(
                logits,
                dLogits,
                trace.workspace("logits.rows", x.dtype(), chunk, x.cols()),
                trace.workspace("d(logits.rows)", DType.F32, chunk, x.cols()));
    }

    /** Rows start at multiples of 16 bytes of either type, whatever the vocabulary. */
    private static Tensor logits(String name, DType dtype, long rows, long vocabulary) {
        long pad = Math.ceilDiv(vocabulary, ROW_MULTIPLE) * ROW_MULTIPLE - vocabulary;
        return Tensor.padded(name, Storage.Role.LOGITS, dtype, rows, vocabulary, pad);
    }
}
