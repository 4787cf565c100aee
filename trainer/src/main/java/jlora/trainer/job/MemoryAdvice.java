package jlora.trainer.job;

import jlora.runtime.plan.Recompute;
import jlora.runtime.weight.FrozenStorage;
import jlora.runtime.weight.Sharding;
import jlora.trainer.config.GradientCheckpointing;
import jlora.trainer.config.RunConfig;
import jlora.trainer.loop.Passes;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/** What to change when a plan does not fit: tried on the planner itself, not guessed. */
final class MemoryAdvice {
    /** Shorter sequences than this teach nothing worth advising. */
    private static final int SHORTEST = 8;

    private static final int MOST_WORKERS = 64;

    private final RunModel model;
    private final Passes passes;
    private final RunPlan plan;
    private final Device device;

    private MemoryAdvice(RunModel model, Passes passes, RunPlan plan, Device device) {
        this.model = model;
        this.passes = passes;
        this.plan = plan;
        this.device = device;
    }

    /** One sentence: what the run needs, what there is, and the nearest settings that fit. */
    static String of(RunModel model, Passes passes, RunPlan plan, Device device) {
        return "The run needs "
                + Bytes.text(plan.totalBytes())
                + " and may take "
                + Bytes.text(device.bytes())
                + "; "
                + new MemoryAdvice(model, passes, plan, device).remedy();
    }

    private String remedy() {
        RunConfig config = model.config();
        int tokens = Math.toIntExact(plan.training().largest().inputs().tokens());
        int sequences = Math.toIntExact(plan.training().largest().inputs().sequences());
        if (!fits(1, 1, 1)) {
            return nothing();
        }
        if (fits(tokens, sequences, 1)) {
            return config.train().gradientCheckpointing() == GradientCheckpointing.NONE
                    ? "gradient_checkpointing: auto would fit."
                    : "a smaller per_device_eval_batch_size would fit.";
        }
        int batch = config.train().perDeviceTrainBatchSize();
        for (int smaller = batch / 2; smaller >= 1; smaller /= 2) {
            double share = (double) smaller / batch;
            if (fits(
                    (int) Math.ceil(tokens * share), (int) Math.ceil(sequences * share), smaller)) {
                return "per_device_train_batch_size: "
                        + smaller
                        + evaluation("per_device_eval_batch_size: " + smaller)
                        + " with gradient_checkpointing: auto would fit.";
            }
        }
        int length = RunData.maxLength(config, model.model().config());
        for (int shorter = length / 2; shorter >= SHORTEST; shorter /= 2) {
            if (shorter < tokens && fits(shorter, 1, 1)) {
                return "max_length: "
                        + shorter
                        + " with per_device_train_batch_size: 1"
                        + evaluation("per_device_eval_batch_size: 1")
                        + " would fit"
                        + otherwise(", and so would ")
                        + ".";
            }
        }
        return nothing();
    }

    private String nothing() {
        return "even the shortest batch needs "
                + Bytes.text(size(1, 1, 1).totalBytes())
                + ", so take a machine with more memory, a smaller model, a smaller lora_r"
                + otherwise(", or what would fit: ")
                + ".";
    }

    /** Other ways to keep the base with which the same batches fit. */
    private String otherwise(String before) {
        List<String> ways = new ArrayList<>();
        if (inFourBits()) {
            ways.add("load_in_4bit: true");
        }
        workers().ifPresent(n -> ways.add("shard_base: true on " + n + " workers"));
        return ways.isEmpty() ? "" : before + String.join(" or ", ways);
    }

    private boolean inFourBits() {
        boolean plain =
                model.model().weights().storage().form() instanceof FrozenStorage.Form.Plain
                        && model.model().weights().sharding().isEmpty();
        return plain
                && !model.blueprint().adapters().isEmpty()
                && fitsAs(model.config().in4bit(), Optional.empty());
    }

    /** The fewest workers that hold the base together, of those tried. */
    private OptionalInt workers() {
        boolean plain = model.model().weights().storage().equals(FrozenStorage.plain());
        if (!plain || model.blueprint().adapters().isEmpty()) {
            return OptionalInt.empty();
        }
        int now = model.model().weights().sharding().map(Sharding::ranks).orElse(1);
        for (int workers = 2 * now; workers <= MOST_WORKERS; workers *= 2) {
            if (fitsAs(model.config(), Optional.of(new Sharding(0, workers)))) {
                return OptionalInt.of(workers);
            }
        }
        return OptionalInt.empty();
    }

    /** Whether the same batches fit with the weights kept in another way. */
    private boolean fitsAs(RunConfig config, Optional<Sharding> sharding) {
        var inputs = plan.training().largest().inputs();
        RunModel other = RunModel.forTraining(config, model.model().weights().dtype(), sharding);
        Passes same = TrainJob.passes(other, config, device);
        return new MemoryAdvice(other, same, plan, device)
                .size(
                        Math.toIntExact(inputs.tokens()),
                        Math.toIntExact(inputs.sequences()),
                        Integer.MAX_VALUE)
                .fits(device);
    }

    private String evaluation(String setting) {
        return plan.evaluation().isPresent() ? " and " + setting : "";
    }

    private boolean fits(int tokens, int sequences, int evalSequences) {
        return size(tokens, sequences, evalSequences).fits(device);
    }

    /** The plan with batches of this size, and evaluation batches of no more than these. */
    private RunPlan size(int tokens, int sequences, int evalSequences) {
        int length = RunData.maxLength(model.config(), model.model().config());
        return RunPlan.of(
                model.blueprint(),
                passes,
                plan.loss(),
                new RunPlan.BatchSize(tokens, sequences, Math.min(tokens, length)),
                plan.evaluation()
                        .map(
                                e -> {
                                    var inputs = e.largest().inputs();
                                    int most = Math.toIntExact(inputs.tokens());
                                    int rows = (int) Math.min(evalSequences, inputs.sequences());
                                    int longest = Math.min(length, most);
                                    int all = Math.min(most, rows * longest);
                                    return new RunPlan.BatchSize(all, rows, longest);
                                }),
                Recompute.Mode.AUTO,
                device,
                1,
                TrainJob.copyBytes(model, device));
    }
}
