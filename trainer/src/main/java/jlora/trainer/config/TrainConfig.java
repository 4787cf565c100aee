package jlora.trainer.config;

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
                                "Passes over the training data; a fraction ends within a pass. Not"
                                        + " together with max_steps.",
                        derived = "3, unless max_steps is given",
                        unit = "epochs",
                        bounds = "(0, inf)",
                        aka = {"epochs", "num_epochs", "max_epochs"})
                Optional<Double> numTrainEpochs,
        @Key(
                        doc =
                                "Steps of the whole run, in place of num_train_epochs; -1 means not"
                                        + " given.",
                        unit = "steps",
                        bounds = "[1, inf)",
                        aka = {"num_steps", "steps", "iters", "total_steps"})
                Optional<Integer> maxSteps,
        @Key(
                        doc =
                                "How the learning rate moves after the warmup: constant,"
                                        + " constant_with_warmup, linear (to 0) or cosine (to 0).",
                        value = "linear",
                        aka = {"lr_scheduler", "scheduler", "schedule"})
                LrSchedulerType lrSchedulerType,
        @Key(
                        doc = "Steps in which the learning rate rises from 0.",
                        value = "0",
                        unit = "steps",
                        bounds = "[0, inf)",
                        aka = {"warmup", "num_warmup_steps"})
                int warmupSteps,
        @Key(
                        doc =
                                "The warmup as a share of all steps, rounded up. Not together with"
                                        + " warmup_steps.",
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
                        doc =
                                "How much of the forward pass is computed again in the backward"
                                    + " pass to save memory: none (also false), auto (only as much"
                                    + " as the memory asks for) or full (each layer; also true)."
                                    + " The results are the same bits.",
                        value = "auto",
                        aka = {"activation_checkpointing", "recompute"})
                GradientCheckpointing gradientCheckpointing,
        @Key(
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
                        doc = "Steps from one evaluation to the next.",
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
        exclusive(
                maxSteps.isPresent() && numTrainEpochs.isPresent(),
                List.of("max_steps", "num_train_epochs"),
                "max_steps and num_train_epochs are both given; keep the one that ends the run");
        exclusive(
                maxSteps.isEmpty() && numTrainEpochs.isEmpty(),
                List.of("max_steps", "num_train_epochs"),
                "neither max_steps nor num_train_epochs is given; one of them must end the run");
        exclusive(
                warmupSteps > 0 && warmupRatio > 0,
                List.of("warmup_steps", "warmup_ratio"),
                "warmup_steps and warmup_ratio are both given; keep one of them");
        exclusive(
                lrSchedulerType == LrSchedulerType.CONSTANT && (warmupSteps > 0 || warmupRatio > 0),
                List.of("warmup_steps", "warmup_ratio", "lr_scheduler_type"),
                "lr_scheduler_type constant has no warmup; use constant_with_warmup or remove the"
                        + " warmup");
        exclusive(
                evalStrategy != EvalStrategy.STEPS && evalSteps.isPresent(),
                List.of("eval_steps", "eval_strategy"),
                "eval_steps has no effect with eval_strategy "
                        + Keys.nameOf(evalStrategy)
                        + "; remove it or set eval_strategy: steps");
        exclusive(
                evalStrategy == EvalStrategy.STEPS && evalSteps.isEmpty(),
                List.of("eval_strategy"),
                "eval_strategy steps needs eval_steps; add it");
    }

    private static void exclusive(boolean conflict, List<String> keys, String problem) {
        if (conflict) {
            throw new BadValueException(keys, problem);
        }
    }
}
