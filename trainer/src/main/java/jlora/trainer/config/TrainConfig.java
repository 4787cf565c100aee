package jlora.trainer.config;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The training itself: method, batch, optimizer, schedule, evaluation and logging, named as in
 * Transformers.
 */
public record TrainConfig(
        @Key(
                        doc =
                                "What is trained: lora (adapters over frozen weights) or full"
                                        + " (every weight).",
                        value = "lora",
                        aka = {"use_peft", "finetuning_type", "peft_type"})
                TrainingMethod method,
        @Key(
                        doc =
                                "Seed of everything random but the order of rows: initialisation"
                                        + " and dropout.",
                        value = "42",
                        bounds = "[0, inf)")
                long seed,
        @Key(
                        doc = "Seed of the order of rows and of the held-out split.",
                        derived = "seed",
                        bounds = "[0, inf)")
                long dataSeed,
        @Key(
                        doc = "Sequences of one micro-batch.",
                        value = "8",
                        unit = "sequences",
                        bounds = "[1, inf)",
                        aka = {"batch_size", "train_batch_size", "micro_batch_size"})
                int perDeviceTrainBatchSize,
        @Key(
                        doc = "Sequences of one evaluation batch.",
                        value = "8",
                        unit = "sequences",
                        bounds = "[1, inf)",
                        aka = {"eval_batch_size"})
                int perDeviceEvalBatchSize,
        @Key(
                        doc =
                                "Micro-batches of one step. The loss is the mean over the trained"
                                        + " tokens of all of them together.",
                        value = "1",
                        unit = "micro-batches",
                        bounds = "[1, inf)",
                        aka = {"grad_accum", "accumulation_steps", "gradient_accumulation"})
                int gradientAccumulationSteps,
        @Key(
                        doc = "Highest learning rate of the schedule.",
                        derived = "2e-4 with method lora, 2e-5 with method full",
                        bounds = "[0, inf)",
                        aka = {"lr"})
                double learningRate,
        @Key(
                        doc = "Decoupled weight decay of AdamW.",
                        value = "0.0",
                        bounds = "[0, inf)",
                        aka = {"wd"})
                double weightDecay,
        @Key(
                        doc = "Decay of AdamW's mean of gradients.",
                        value = "0.9",
                        bounds = "[0, 1)",
                        aka = {"beta1"})
                double adamBeta1,
        @Key(
                        doc = "Decay of AdamW's mean of squared gradients.",
                        value = "0.999",
                        bounds = "[0, 1)",
                        aka = {"beta2"})
                double adamBeta2,
        @Key(
                        doc = "Added to the root in AdamW's denominator.",
                        value = "1e-8",
                        bounds = "(0, inf)",
                        aka = {"adam_eps", "epsilon", "eps"})
                double adamEpsilon,
        @Key(
                        doc =
                                "Gradients whose norm over all trained weights is larger are scaled"
                                        + " down to it; 0 turns clipping off.",
                        value = "1.0",
                        bounds = "[0, inf)",
                        aka = {"gradient_clipping", "clip_grad_norm", "gradient_clip_val"})
                double maxGradNorm,
        @Key(
                        doc =
                                "Passes over the training data; a fraction ends within a pass."
                                        + " max_steps wins over it.",
                        derived = "3, unless max_steps is given",
                        unit = "epochs",
                        bounds = "(0, inf)",
                        aka = {"epochs", "num_epochs", "max_epochs"})
                Optional<Double> numTrainEpochs,
        @Key(
                        doc =
                                "Steps of the whole run, whatever num_train_epochs says; -1 means"
                                        + " not given.",
                        unit = "steps",
                        bounds = "[1, inf)",
                        aka = {"num_steps", "steps", "iters", "total_steps"})
                Optional<Integer> maxSteps,
        @Key(
                        doc =
                                "How the learning rate moves: constant (without warmup),"
                                        + " constant_with_warmup, linear (to 0) or cosine (to 0),"
                                        + " these three after the warmup.",
                        value = "linear",
                        aka = {"lr_scheduler", "scheduler", "schedule"})
                LrSchedulerType lrSchedulerType,
        @Key(
                        doc =
                                "Steps in which the learning rate rises from 0; below 1 a share of"
                                        + " all steps, rounded up.",
                        value = "0",
                        unit = "steps or share",
                        bounds = "[0, inf)",
                        aka = {"warmup", "num_warmup_steps"})
                double warmupSteps,
        @Key(
                        doc =
                                "The warmup as a share of all steps, rounded up: the older name of"
                                        + " a warmup_steps below 1, which wins over it.",
                        value = "0.0",
                        unit = "share",
                        bounds = "[0, 1]")
                double warmupRatio,
        @Key(
                        doc = "Share of each target that is spread evenly over the vocabulary.",
                        value = "0.0",
                        unit = "share",
                        bounds = "[0, 1)",
                        aka = {"label_smoothing"})
                double labelSmoothingFactor,
        @Key(
                        mayChange = true,
                        doc =
                                "How much of the forward pass is computed again in the backward"
                                    + " pass to save memory: none (also false), auto (only as much"
                                    + " as the memory asks for) or full (each layer; also true)."
                                    + " The results are the same bits.",
                        value = "auto",
                        aka = {"activation_checkpointing", "recompute"})
                GradientCheckpointing gradientCheckpointing,
        @Key(
                        mayChange = true,
                        doc = "Steps from one line of metrics to the next.",
                        value = "10",
                        unit = "steps",
                        bounds = "[1, inf)",
                        aka = {"log_every", "log_interval"})
                int loggingSteps,
        @Key(
                        doc =
                                "When to evaluate: no, steps (every eval_steps) or epoch (at the"
                                        + " end of each).",
                        derived =
                                "steps if eval_steps is given, else epoch if there is evaluation"
                                        + " data, else no",
                        aka = {"evaluation_strategy", "do_eval"})
                EvalStrategy evalStrategy,
        @Key(
                        doc = "Steps from one evaluation to the next, with eval_strategy steps.",
                        derived = "logging_steps, with eval_strategy steps",
                        unit = "steps",
                        bounds = "[1, inf)",
                        aka = {"eval_every", "eval_interval"})
                Optional<Integer> evalSteps) {
    public TrainConfig {
        Keys keys = Keys.of(TrainConfig.class);
        keys.check("seed", seed);
        keys.check("data_seed", dataSeed);
        keys.check("per_device_train_batch_size", perDeviceTrainBatchSize);
        keys.check("per_device_eval_batch_size", perDeviceEvalBatchSize);
        keys.check("gradient_accumulation_steps", gradientAccumulationSteps);
        keys.check("learning_rate", learningRate);
        keys.check("weight_decay", weightDecay);
        keys.check("adam_beta1", adamBeta1);
        keys.check("adam_beta2", adamBeta2);
        keys.check("adam_epsilon", adamEpsilon);
        keys.check("max_grad_norm", maxGradNorm);
        keys.check("num_train_epochs", numTrainEpochs);
        maxSteps = maxSteps.filter(steps -> steps != -1);
        keys.check("max_steps", maxSteps);
        keys.check("warmup_steps", warmupSteps);
        keys.check("warmup_ratio", warmupRatio);
        keys.check("label_smoothing_factor", labelSmoothingFactor);
        keys.check("logging_steps", loggingSteps);
        keys.check("eval_steps", evalSteps);
        if (maxSteps.isEmpty() && numTrainEpochs.isEmpty()) {
            throw new BadValueException(
                    List.of("max_steps", "num_train_epochs"),
                    "neither max_steps nor num_train_epochs is given; one of them must end the"
                            + " run");
        }
        if (warmupSteps >= 1 && warmupSteps != Math.rint(warmupSteps)) {
            throw new BadValueException(
                    List.of("warmup_steps"),
                    "warmup_steps is "
                            + warmupSteps
                            + ", but must be a whole number of steps or a share below 1");
        }
        if (evalStrategy == EvalStrategy.STEPS && evalSteps.isEmpty()) {
            throw new BadValueException(
                    List.of("eval_strategy"), "eval_strategy steps needs eval_steps; add it");
        }
    }

    /** Steps of the warmup in a run of so many steps. */
    public long warmup(long totalSteps) {
        if (warmupSteps >= 1) {
            return (long) warmupSteps;
        }
        return (long) Math.ceil((warmupSteps > 0 ? warmupSteps : warmupRatio) * totalSteps);
    }

    /**
     * What is given and has no effect, where Transformers lets one key win in silence: one sentence
     * each.
     */
    List<String> notes() {
        List<String> notes = new ArrayList<>();
        if (maxSteps.isPresent() && numTrainEpochs.isPresent()) {
            notes.add(
                    "max_steps "
                            + maxSteps.get()
                            + " ends the run; num_train_epochs "
                            + Bounds.number(numTrainEpochs.get())
                            + " has no effect");
        }
        if (lrSchedulerType == LrSchedulerType.CONSTANT && (warmupSteps > 0 || warmupRatio > 0)) {
            notes.add(
                    "lr_scheduler_type constant has no warmup, so "
                            + (warmupSteps > 0 ? "warmup_steps" : "warmup_ratio")
                            + " has no effect; constant_with_warmup would honour it");
        } else if (warmupSteps > 0 && warmupRatio > 0) {
            notes.add(
                    "warmup_steps "
                            + Bounds.number(warmupSteps)
                            + " sets the warmup; warmup_ratio has no effect");
        }
        if (evalStrategy != EvalStrategy.STEPS && evalSteps.isPresent()) {
            notes.add(
                    "eval_steps has no effect with eval_strategy "
                            + Keys.nameOf(evalStrategy)
                            + "; eval_strategy: steps would honour it");
        }
        return notes;
    }
}
