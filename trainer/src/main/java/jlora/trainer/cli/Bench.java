package jlora.trainer.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.io.AtomicFile;
import jlora.runtime.io.Json;
import jlora.runtime.tensor.DType;
import jlora.trainer.bench.BenchReport;
import jlora.trainer.config.Purpose;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.Backends;
import jlora.trainer.job.RunModel;

import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** What every benchmark takes, and how it is opened. */
abstract class Bench implements Runnable {
    private static final List<String> RANDOM = List.of("random_init=true");

    /** The run that jlora's own figures are of; any key on the command line wins. */
    private static final List<String> DEFAULTS =
            List.of(
                    "lora_r=16",
                    "lora_alpha=32",
                    "lora_target_modules=all-linear",
                    "max_length=4096");

    @Mixin private RunOptions options;

    @Spec private CommandSpec spec;

    @Option(
            names = "--json",
            paramLabel = "FILE",
            description = "Write the numbers here too, as JSON.")
    private Optional<Path> json = Optional.empty();

    @Override
    public void run() {
        RunConfig config = options.load(RANDOM, DEFAULTS);
        config.require(Purpose.PLAN);
        if (!config.model().randomInit()) {
            throw JloraException.usage(
                    "random_init is false, but benchmarks draw their weights at random;"
                            + " remove the key");
        }
        try (Backend backend = Backends.open(config)) {
            DType dtype = RunModel.dtype(config, backend.asynchronous());
            BenchReport report = new BenchReport(backend.describe(), dtype);
            ObjectNode numbers = measure(backend, config, dtype, report);
            json.ifPresent(path -> AtomicFile.write(path, Json.pretty(numbers)));
        }
    }

    abstract ObjectNode measure(Backend backend, RunConfig config, DType dtype, BenchReport report);

    void print(String table) {
        spec.commandLine().getOut().print(table);
        spec.commandLine().getOut().flush();
    }
}
