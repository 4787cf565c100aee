package jlora.trainer.config;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** Where a run writes, and how it can be watched. */
public record OutputConfig(
        @Key(
                        doc =
                                "Folder for the adapter, checkpoints, the resolved configuration,"
                                        + " metrics.jsonl, trainer_state.json and report.html.",
                        mayChange = true,
                        aka = {"output", "out_dir", "save_dir"})
                Optional<Path> outputDir,
        @Key(
                        doc =
                                "Replace the run that output_dir already holds; otherwise that is"
                                        + " an error.",
                        value = "false",
                        mayChange = true,
                        aka = {"overwrite_output_dir", "force"})
                boolean overwrite,
        @Key(
                        doc =
                                "Where metrics go: jsonl (metrics.jsonl, always written) and"
                                        + " tensorboard (event files in output_dir/runs).",
                        value = "[jsonl]",
                        mayChange = true,
                        aka = {"loggers", "tracker"})
                List<ReportTarget> reportTo,
        @Key(
                        doc =
                                "Serve Prometheus metrics (/metrics) and health endpoints (/ready,"
                                        + " /live) on this port while the run lasts; 0 takes a free"
                                        + " one and says which.",
                        unit = "port",
                        bounds = "[0, 65535]",
                        mayChange = true)
                Optional<Integer> metricsPort,
        @Key(
                        doc =
                                "What the run prints: text for people, or json, one object a line,"
                                        + " for log collectors.",
                        value = "text",
                        mayChange = true)
                LogFormat logFormat) {
    public OutputConfig {
        reportTo = List.copyOf(reportTo);
        Keys.of(OutputConfig.class).check("metrics_port", metricsPort);
    }
}
