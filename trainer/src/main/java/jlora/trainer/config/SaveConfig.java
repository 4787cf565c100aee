package jlora.trainer.config;

import java.util.List;
import java.util.Optional;

/** Checkpoints, the best of them, and where a run goes on from; named as in Transformers. */
public record SaveConfig(
        @Key(
                        doc =
                                "When to write a checkpoint, from which a run goes on to the same"
                                    + " bits: no, steps (every save_steps), epoch (at the end of"
                                    + " each) or best (when an evaluation is the best so far). With"
                                    + " no, a signal ends the run without one.",
                        value = "steps",
                        mayChange = true)
                SaveStrategy saveStrategy,
        @Key(
                        doc = "Steps from one checkpoint to the next, with save_strategy steps.",
                        value = "500",
                        unit = "steps",
                        bounds = "[1, inf)",
                        mayChange = true,
                        aka = {"save_every", "save_interval", "checkpoint_every"})
                int saveSteps,
        @Key(
                        doc =
                                "Checkpoints kept in output_dir: the oldest go first, never the"
                                        + " best one where load_best_model_at_end needs it. Without"
                                        + " it all are kept.",
                        unit = "checkpoints",
                        bounds = "[1, inf)",
                        mayChange = true,
                        aka = {"keep_checkpoints"})
                Optional<Integer> saveTotalLimit,
        @Key(
                        doc =
                                "At the end, write the checkpoint with the best"
                                        + " metric_for_best_model instead of the last state."
                                        + " Checkpoints and evaluations must then coincide.",
                        value = "false")
                boolean loadBestModelAtEnd,
        @Key(
                        doc =
                                "The number by which evaluations are compared: loss or perplexity,"
                                        + " also as eval_loss and eval_perplexity.",
                        value = "loss")
                String metricForBestModel,
        @Key(
                        doc =
                                "End the run after so many evaluations in a row that are no better"
                                        + " than the best.",
                        unit = "evaluations",
                        bounds = "[1, inf)",
                        aka = {"early_stopping", "patience"})
                Optional<Integer> earlyStoppingPatience,
        @Key(
                        doc =
                                "How much better than the best an evaluation must be for"
                                        + " early_stopping_patience.",
                        value = "0.0",
                        bounds = "[0, inf)")
                double earlyStoppingThreshold,
        @Key(
                        doc =
                                "Go on from a checkpoint: auto takes the newest whole one in"
                                    + " output_dir, and starts anew where there is none; a folder"
                                    + " means that one.",
                        derived = "auto where the scheduler says that it restarted the job",
                        mayChange = true,
                        aka = {"resume", "resume_from"})
                Optional<ResumeFrom> resumeFromCheckpoint) {
    public SaveConfig {
        Keys keys = Keys.of(SaveConfig.class);
        keys.check("save_steps", saveSteps);
        keys.check("save_total_limit", saveTotalLimit);
        keys.check("early_stopping_patience", earlyStoppingPatience);
        keys.check("early_stopping_threshold", earlyStoppingThreshold);
        String metric = metricName(metricForBestModel);
        if (!List.of("loss", "perplexity").contains(metric)) {
            throw new BadValueException(
                    List.of("metric_for_best_model"),
                    "metric_for_best_model is '"
                            + metricForBestModel
                            + "', but evaluations give loss and perplexity alone");
        }
        if (loadBestModelAtEnd && saveStrategy == SaveStrategy.NO) {
            throw new BadValueException(
                    List.of("load_best_model_at_end"),
                    "load_best_model_at_end needs checkpoints, but save_strategy is no; set it to"
                            + " steps, epoch or best");
        }
    }

    private static String metricName(String given) {
        return given.startsWith("eval_") ? given.substring("eval_".length()) : given;
    }

    /** Whether perplexity is compared, rather than the loss. */
    public boolean comparesPerplexity() {
        return metricName(metricForBestModel).equals("perplexity");
    }

    /** What is wrong between checkpoints and evaluations, if anything. */
    void requireAgreement(TrainConfig train) {
        boolean evaluates = train.evalStrategy() != EvalStrategy.NO;
        if (earlyStoppingPatience.isPresent() && !evaluates) {
            throw new BadValueException(
                    List.of("early_stopping_patience"),
                    "early_stopping_patience needs evaluations, but there are none; give"
                            + " eval_datasets or eval_split");
        }
        if (saveStrategy == SaveStrategy.BEST && !evaluates) {
            throw new BadValueException(
                    List.of("save_strategy"),
                    "save_strategy best needs evaluations, but there are none; give eval_datasets"
                            + " or eval_split");
        }
        if (!loadBestModelAtEnd || saveStrategy == SaveStrategy.BEST) {
            return;
        }
        boolean coincide =
                switch (train.evalStrategy()) {
                    case NO -> false;
                    case STEPS ->
                            saveStrategy == SaveStrategy.STEPS
                                    && saveSteps % train.evalSteps().orElse(1) == 0;
                    case EPOCH -> saveStrategy == SaveStrategy.EPOCH;
                };
        if (!coincide) {
            throw new BadValueException(
                    List.of("load_best_model_at_end"),
                    "load_best_model_at_end needs an evaluation with each checkpoint; set"
                            + " save_strategy and eval_strategy to the same, save_steps to a"
                            + " multiple of eval_steps, or save_strategy to best");
        }
    }
}
