package jlora.trainer.config;

import java.nio.file.Path;
import java.util.Optional;

/** Where a run writes. */
public record OutputConfig(
        @Key(
                        doc =
                                "Folder for the adapter, the resolved configuration, metrics.jsonl,"
                                        + " trainer_state.json and report.html.",
                        aka = {"output", "out_dir", "save_dir"})
                Optional<Path> outputDir,
        @Key(
                        doc =
                                "Replace the run that output_dir already holds; otherwise that is"
                                        + " an error.",
                        value = "false",
                        aka = {"overwrite_output_dir", "force"})
                boolean overwrite) {}
