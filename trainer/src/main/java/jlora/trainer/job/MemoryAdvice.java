package jlora.trainer.job;

import jlora.runtime.plan.Recompute;
import jlora.trainer.config.RunConfig;
import jlora.trainer.loop.Passes;

import java.util.Optional;

/** What to change when a plan does not fit: tried on the planner itself, not guessed. */
final class MemoryAdvice {
    private MemoryAdvice() {}

    /** One sentence: what the run needs, what there is, and the nearest settings that fit. */
    static String of(RunModel model, Passes passes, RunPlan plan, long limit) {
        String problem =
                "The run needs "
                        + Bytes.text(plan.totalBytes())
                        + " and may take "
                        + Bytes.text(limit)
                        + "; ";
        RunConfig config = model.config();
        if (config.train().gradientCheckpointing()
                        == jlora.trainer.config.GradientCheckpointing.NONE
                && fits(model, passes, plan, limit, 1)) {
            return problem + "gradient_checkpointing: auto would fit.";
        }
        int batch = config.train().perDeviceTrainBatchSize();
        for (int smaller = batch / 2; smaller >= 1; smaller /= 2) {
            if (fits(model, passes, plan, limit, (double) smaller / batch)) {
                return problem
                        + "per_device_train_batch_size: "
                        + smaller
                        + " with gradient_checkpointing: auto would fit.";
            }
        }
        int length = RunData.maxLength(config, model.model().config());
        for (int shorter = length / 2; shorter >= 64; shorter /= 2) {
            if (fits(model, passes, plan, limit, (double) shorter / length / batch)) {
                return problem
                        + "max_length: "
                        + shorter
                        + " with per_device_train_batch_size: 1 would fit.";
            }
        }
        long least = size(model, passes, plan, limit, 1e-9).totalBytes();
        return problem
                + "even the shortest batch needs "
                + Bytes.text(least)
                + ", so take a machine with more memory, a smaller model or a smaller lora_r.";
    }

    private static boolean fits(
            RunModel model, Passes passes, RunPlan plan, long limit, double share) {
        return size(model, passes, plan, limit, share).totalBytes() <= limit;
    }

    private static RunPlan size(
            RunModel model, Passes passes, RunPlan plan, long limit, double share) {
        var inputs = plan.training().largest().inputs();
        int tokens = (int) Math.max(1, Math.ceil(inputs.tokens() * share));
        int sequences = (int) Math.max(1, Math.ceil(inputs.sequences() * Math.min(1, share)));
        return RunPlan.of(
                model.blueprint(),
                passes,
                plan.loss(),
                new RunPlan.BatchSize(tokens, sequences, tokens),
                Optional.empty(),
                Recompute.Mode.AUTO,
                limit,
                1);
    }
}
