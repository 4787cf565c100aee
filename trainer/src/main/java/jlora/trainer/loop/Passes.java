package jlora.trainer.loop;

import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.model.Model;
import jlora.runtime.nn.StepInputs;
import jlora.runtime.op.Attention;
import jlora.runtime.op.Linear;
import jlora.runtime.op.LinearCrossEntropy;
import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Recompute;
import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.ParameterSet;

import java.util.ArrayList;
import java.util.List;

/**
 * Traces what a run consists of: the micro-batch with its gradients, the update, the evaluation
 * batch, plain logits.
 */
public final class Passes {
    private final Blueprint blueprint;
    private final float labelSmoothing;
    private final long logitsBytes;

    /**
     * @param logitsBytes that a chunk of f32 logits may take
     */
    public Passes(Blueprint blueprint, float labelSmoothing, long logitsBytes) {
        this.blueprint = blueprint;
        this.labelSmoothing = labelSmoothing;
        this.logitsBytes = logitsBytes;
    }

    private DType dtype() {
        return blueprint.model().weights().dtype();
    }

    /** Rows whose logits exist at one time: chunks of nearly equal size, as few as fit. */
    private long chunk(long rows, long vocabSize) {
        long most = Math.max(1, logitsBytes / (vocabSize * DType.F32.bytes()));
        return Math.ceilDiv(rows, Math.ceilDiv(rows, most));
    }

    /** Loss and gradients of one micro-batch; gradients add to what is there. */
    public Plan train(StepInputs inputs, Tensor loss, long longest, Recompute recompute) {
        Trace trace = Trace.training(dtype(), blueprint.parameters().gradients());
        traceLoss(trace, inputs, loss, longest, labelSmoothing);
        return trace.finish(recompute);
    }

    /** The loss of one batch. */
    public Plan evaluate(StepInputs inputs, Tensor loss, long longest) {
        Trace trace = Trace.inference(dtype());
        traceLoss(trace, inputs, loss, longest, 0);
        return trace.finish();
    }

    private void traceLoss(
            Trace trace, StepInputs inputs, Tensor loss, long longest, float smoothing) {
        Model model = blueprint.model();
        Tensor hidden = hidden(trace, inputs, longest);
        LinearCrossEntropy.apply(
                trace,
                loss,
                hidden,
                model.head(trace),
                inputs.targets(),
                inputs.lossScale(),
                smoothing,
                inputs.mostTargets(),
                chunk(inputs.mostTargets(), model.config().vocabSize()));
    }

    private Tensor hidden(Trace trace, StepInputs inputs, long longest) {
        return blueprint
                .model()
                .hidden(
                        trace,
                        inputs,
                        (t, layer, qkv, shape, pad) ->
                                Attention.apply(
                                        t,
                                        qkv,
                                        inputs.cuSeqlens(),
                                        inputs.keyMask(),
                                        shape,
                                        longest,
                                        pad));
    }

    /** All logits of a batch, f32 [T,V]; for saving, where every one of them is wanted. */
    public record Logits(Plan plan, Tensor logits) {}

    public Logits logits(StepInputs inputs, long longest) {
        Trace trace = Trace.inference(dtype());
        Tensor hidden = hidden(trace, inputs, longest);
        Tensor logits = Linear.logits(trace, hidden, blueprint.model().head(trace));
        return new Logits(trace.finish(), logits);
    }

    /**
     * The update after a step's micro-batches: per adapter, norm and clipping, then AdamW, which
     * also writes the new values to where products read them.
     *
     * @param learningRate f32 [1,1]
     * @param norms f32 [G,2], one row per group of parameters
     */
    public Plan update(
            Tensor learningRate, Tensor norms, float maxGradNorm, AdamWKernel.Settings settings) {
        Trace trace = Trace.inference(dtype());
        ParameterSet parameters = blueprint.parameters();
        for (int i = 0; i < parameters.groups().size(); i++) {
            ParameterSet.Group group = parameters.groups().get(i);
            Tensor norm = norms.rows(i, 1);
            AdamWKernel.Settings own =
                    new AdamWKernel.Settings(
                            settings.beta1(),
                            settings.beta2(),
                            settings.eps(),
                            settings.weightDecay(),
                            group.decayed());
            trace.step(
                    Step.of(
                                    "grad_norm",
                                    List.of(group.gradient(), group.updates()),
                                    List.of(norm, group.updates()),
                                    k ->
                                            k.gradNorm()
                                                    .forward(
                                                            norm,
                                                            group.updates(),
                                                            group.gradient(),
                                                            maxGradNorm))
                            .flops(2 * group.gradient().elements()));
            List<Tensor> writes =
                    new ArrayList<>(
                            List.of(group.master(), group.gradient(), group.m(), group.v()));
            group.copies().forEach(copy -> writes.add(copy.to()));
            trace.step(
                    Step.of(
                                    "adamw",
                                    List.of(
                                            group.master(),
                                            group.gradient(),
                                            group.m(),
                                            group.v(),
                                            learningRate,
                                            norm,
                                            group.updates()),
                                    writes,
                                    k ->
                                            k.adamW()
                                                    .update(
                                                            group.master(),
                                                            group.gradient(),
                                                            group.m(),
                                                            group.v(),
                                                            learningRate,
                                                            norm,
                                                            group.updates(),
                                                            own,
                                                            group.copies()))
                            .flops(14 * group.master().elements()));
        }
        return trace.finish();
    }
}
