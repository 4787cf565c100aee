package jlora.trainer.config;

/** How a run deals with what goes wrong, and how several workers share it. */
public record JobConfig(
        @Key(
                        doc =
                                "What a step does whose loss or gradient is not finite: abort ends"
                                        + " the run with exit code 5; skip leaves parameters and"
                                        + " moments as they were, counts it, and goes on.",
                        value = "abort")
                OnNonfinite onNonfinite,
        @Key(
                        doc =
                                "With on_nonfinite skip, end the run (exit code 5) after so many"
                                        + " such steps in a row.",
                        value = "10",
                        unit = "steps",
                        bounds = "[1, inf)")
                int maxNonfiniteSteps,
        @Key(
                        doc =
                                "A step, an evaluation batch or a wait for another worker that"
                                        + " takes longer ends the process with exit code 7 and a"
                                        + " dump of all threads; 0 waits for ever.",
                        value = "1800",
                        unit = "seconds",
                        bounds = "[0, inf)",
                        mayChange = true,
                        aka = {"ddp_timeout", "timeout", "watchdog_timeout"})
                double stepTimeout,
        @Key(
                        doc =
                                "Keep 1/N of the frozen weights of each layer per worker and gather"
                                        + " them layer by layer ahead of use, for bases larger than"
                                        + " one device.",
                        value = "false",
                        mayChange = true,
                        aka = {"fsdp", "zero_stage", "deepspeed"})
                boolean shardBase) {
    public JobConfig {
        Keys keys = Keys.of(JobConfig.class);
        keys.check("max_nonfinite_steps", maxNonfiniteSteps);
        keys.check("step_timeout", stepTimeout);
    }
}
