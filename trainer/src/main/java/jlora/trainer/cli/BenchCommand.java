package jlora.trainer.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.io.AtomicFile;
import jlora.runtime.io.Json;
import jlora.runtime.tensor.DType;
import jlora.trainer.bench.BenchReport;
import jlora.trainer.bench.BenchRun;
import jlora.trainer.bench.Ceilings;
import jlora.trainer.bench.KernelBench;
import jlora.trainer.bench.KernelRow;
import jlora.trainer.bench.LinearBench;
import jlora.trainer.bench.MergeBench;
import jlora.trainer.bench.StepBench;
import jlora.trainer.bench.StepMemoryUse;
import jlora.trainer.config.Purpose;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.Backends;
import jlora.trainer.job.RunModel;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

@Command(
        name = "bench",
        description = {
            "Measures this machine with a model's own training step, over random weights and random"
                    + " tokens; a folder with a config.json is enough.",
            "How to read the tables: benchmarks/README.md."
        },
        mixinStandardHelpOptions = true,
        subcommands = {
            BenchCommand.Memory.class,
            BenchCommand.Products.class,
            BenchCommand.Steps.class,
            BenchCommand.Merging.class
        })
final class BenchCommand implements Runnable {
    @Spec private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(
                spec.commandLine(), "a benchmark is missing: memory, gemm, step or merge");
    }

    /** What every benchmark takes, and how it is opened. */
    abstract static class Bench implements Runnable {
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

        abstract ObjectNode measure(
                Backend backend, RunConfig config, DType dtype, BenchReport report);

        void print(String table) {
            spec.commandLine().getOut().print(table);
            spec.commandLine().getOut().flush();
        }
    }

    @Command(
            name = "memory",
            description =
                    "Bytes per second of every kernel that memory limits, against a measured copy.",
            mixinStandardHelpOptions = true)
    static final class Memory extends Bench {
        @Override
        ObjectNode measure(Backend backend, RunConfig config, DType dtype, BenchReport report) {
            Ceilings ceilings = Ceilings.measure(backend, dtype);
            try (BenchRun run = BenchRun.open(backend, config)) {
                List<KernelRow> rows = KernelBench.rows(run);
                print(report.memoryTable(rows, ceilings));
                return report.json(ceilings, rows);
            }
        }
    }

    @Command(
            name = "gemm",
            description =
                    "FLOP per second of every kernel that arithmetic limits, against a measured"
                            + " square product, and what adapters add to the frozen products.",
            mixinStandardHelpOptions = true)
    static final class Products extends Bench {
        @Override
        ObjectNode measure(Backend backend, RunConfig config, DType dtype, BenchReport report) {
            Ceilings ceilings = Ceilings.measure(backend, dtype);
            try (BenchRun run = BenchRun.open(backend, config)) {
                List<KernelRow> rows = KernelBench.rows(run);
                LinearBench linears = LinearBench.of(run, rows);
                print(report.productTable(rows, linears, ceilings));
                return report.json(ceilings, rows)
                        .put("lora_linear_milliseconds", linears.loraMilliseconds())
                        .put("frozen_linear_milliseconds", linears.frozenMilliseconds());
            }
        }
    }

    @Command(
            name = "step",
            description =
                    "Tokens per second of whole optimizer steps, and planned against real memory.",
            mixinStandardHelpOptions = true)
    static final class Steps extends Bench {
        @Option(
                names = "--warmup",
                paramLabel = "N",
                defaultValue = "3",
                description = "Steps before the timed ones (default ${DEFAULT-VALUE}).")
        private int warmup;

        @Option(
                names = "--steps",
                paramLabel = "N",
                defaultValue = "10",
                description = "Timed steps (default ${DEFAULT-VALUE}).")
        private int steps;

        @Override
        ObjectNode measure(Backend backend, RunConfig config, DType dtype, BenchReport report) {
            if (warmup < 1 || steps < 1) {
                throw JloraException.usage(
                        "--warmup "
                                + warmup
                                + " --steps "
                                + steps
                                + ": give at least 1 warm-up step and 1 timed step");
            }
            try (BenchRun run = BenchRun.open(backend, config)) {
                StepBench step = StepBench.of(run, warmup, steps);
                StepMemoryUse memory =
                        new StepMemoryUse(run.job().plan().totalBytes(), backend.usedBytes());
                double flops = run.modelFlops();
                print(report.stepTable(step, memory, flops));
                return report.json(step, memory, flops);
            }
        }
    }

    @Command(
            name = "merge",
            description =
                    "Milliseconds to merge an adapter into its weights, to take it off to the bit,"
                            + " and to switch adapters.",
            mixinStandardHelpOptions = true)
    static final class Merging extends Bench {
        @Override
        ObjectNode measure(Backend backend, RunConfig config, DType dtype, BenchReport report) {
            Ceilings ceilings = Ceilings.measure(backend, dtype);
            try (BenchRun run = BenchRun.open(backend, config)) {
                MergeBench merge = MergeBench.of(run);
                print(report.mergeTable(merge, ceilings));
                return report.json(merge, ceilings);
            }
        }
    }
}
