package jlora.bench.step;

import jlora.bench.Program;
import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.backend.Backend;
import jlora.runtime.io.PeftFolder;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.weight.ParameterSet;
import jlora.trainer.checkpoint.CheckpointContents;
import jlora.trainer.checkpoint.CheckpointFolder;
import jlora.trainer.checkpoint.CheckpointState;
import jlora.trainer.checkpoint.ParameterCopy;
import jlora.trainer.checkpoint.RunIdentity;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.Backends;
import jlora.trainer.job.RunModel;
import jlora.trainer.job.SavedAdapter;
import jlora.trainer.job.TrainRun;
import jlora.trainer.loop.Progress;
import jlora.trainer.metrics.LoggedSteps;
import jlora.trainer.metrics.MetricsHistory;
import jlora.trainer.metrics.MetricsReader;
import jlora.trainer.metrics.StepMetrics;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Collectors;

/**
 * What checkpoints cost: the time of a step with a save after each against that without, in turn in
 * one process; and size and time of one checkpoint of a model's adapters, with random numbers.
 */
@Command(name = "checkpoint", description = "Prints what checkpoints cost.")
public final class CheckpointBench implements Runnable {
    @Mixin private Program.Help help;

    @Option(
            names = "--folder",
            required = true,
            description = "Where checkpoints go: on the disk that is measured; removed at the end.")
    private Path folder;

    @Option(
            names = "--large",
            description = "config.json of the model whose adapters' checkpoint is written.")
    private Optional<Path> large = Optional.empty();

    @Option(
            names = "--rounds",
            defaultValue = "3",
            description = "Of both runs (${DEFAULT-VALUE}).")
    private int rounds;

    @Option(names = "--steps", defaultValue = "8", description = "Timed (${DEFAULT-VALUE}).")
    private int steps;

    @Option(names = "--warmup", defaultValue = "3", description = "Before (${DEFAULT-VALUE}).")
    private int warmup;

    @Parameters(
            arity = "0..*",
            paramLabel = "KEY=VALUE",
            description = "Keys of a configuration: a model with random weights, batch, length.")
    private List<String> overrides = new ArrayList<>();

    /** Runs the command line to its exit code. */
    public static void main(String[] arguments) {
        System.exit(Program.run(new CheckpointBench(), arguments));
    }

    @Override
    public void run() {
        try {
            Files.createDirectories(folder);
            try {
                stall();
                if (large.isPresent()) {
                    large(large.get());
                }
            } finally {
                delete(folder);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void stall() throws IOException {
        Path rows = rows();
        List<Double> with = new ArrayList<>();
        List<Double> without = new ArrayList<>();
        for (int round = 0; round < rounds; round++) {
            without.addAll(seconds(rows, "save_strategy=no"));
            with.addAll(seconds(rows, "save_steps=1"));
        }
        System.out.printf(
                Locale.ROOT,
                "step: %.1f ms without saving, %.1f ms with a save after each: %.2fx (medians of %d"
                        + " steps each; means %.1f and %.1f ms)%n",
                1e3 * median(without),
                1e3 * median(with),
                median(with) / median(without),
                with.size(),
                1e3 * mean(without),
                1e3 * mean(with));
    }

    private List<Double> seconds(Path rows, String saving) throws IOException {
        Path out = folder.resolve("run");
        List<String> words =
                new ArrayList<>(
                        List.of(
                                "random_init=true",
                                "datasets=[{path: " + rows + ", type: tokens}]",
                                "output_dir=" + out,
                                "max_steps=" + (warmup + steps),
                                "logging_steps=1",
                                "save_total_limit=2",
                                saving));
        words.addAll(overrides);
        new TrainRun(RunConfig.load(Optional.empty(), words), new PrintWriter(Writer.nullWriter()))
                .run();
        MetricsHistory history = new MetricsHistory();
        MetricsReader.replay(out.resolve("metrics.jsonl"), history);
        delete(out);
        return history.steps().stream().skip(warmup).map(StepMetrics::seconds).toList();
    }

    /** Rows of random tokens, as long as max_length. */
    private Path rows() throws IOException {
        RunConfig config = RunConfig.load(Optional.empty(), overrides);
        Random random = new Random(1);
        List<String> lines = new ArrayList<>();
        for (int i = 0; i < 64; i++) {
            String ids =
                    random.ints(config.data().maxLength(), 0, 100)
                            .mapToObj(Integer::toString)
                            .collect(Collectors.joining(", ", "[", "]"));
            lines.add("{\"input_ids\": " + ids + ", \"labels\": " + ids + "}");
        }
        return Files.write(folder.resolve("rows.jsonl"), lines);
    }

    private void large(Path model) throws IOException {
        RunConfig config =
                RunConfig.load(
                        Optional.empty(),
                        List.of(
                                "model_name_or_path=" + model,
                                "random_init=true",
                                "lora_r=16",
                                "lora_target_modules=all-linear",
                                "device=cpu"));
        RunModel run = RunModel.forTraining(config, DType.BF16);
        ParameterSet parameters = run.blueprint().parameters();
        Path metrics = Files.writeString(folder.resolve("metrics.jsonl"), "");
        try (Backend backend = Backends.open(config);
                MemoryArena _ = parameters.allocate(backend);
                ParameterCopy copy = new ParameterCopy(parameters)) {
            fill(parameters);
            LoraAdapter adapter = run.blueprint().adapters().getFirst();
            RunIdentity identity = new RunIdentity("model", "data", "bfloat16", 1, "bench");
            double[] copies = new double[rounds + 1];
            double[] writes = new double[rounds + 1];
            double[] checks = new double[rounds + 1];
            long bytes = 0;
            for (int i = 0; i <= rounds; i++) {
                long start = System.nanoTime();
                copy.take(backend);
                copies[i] = (System.nanoTime() - start) / 1e9;
                CheckpointContents contents =
                        new CheckpointContents(
                                () ->
                                        new CheckpointState(
                                                Progress.START, LoggedSteps.State.NONE, identity),
                                config.toYaml(),
                                new byte[0],
                                metrics,
                                0,
                                copy,
                                to ->
                                        SavedAdapter.write(
                                                to,
                                                run.lora().orElseThrow(),
                                                adapter,
                                                copy::value,
                                                run.linearModules(),
                                                PeftFolder.Base.UNKNOWN));
                start = System.nanoTime();
                CheckpointFolder written = CheckpointFolder.write(folder, 1, contents::write);
                writes[i] = (System.nanoTime() - start) / 1e9;
                start = System.nanoTime();
                written.verify();
                checks[i] = (System.nanoTime() - start) / 1e9;
                bytes = written.bytes();
            }
            System.out.printf(
                    Locale.ROOT,
                    "checkpoint of %,d trained numbers: %,d bytes; copy %.3f s, write and flush"
                            + " %.2f s, verify %.2f s (medians of %d after one)%n",
                    parameters.elements(),
                    bytes,
                    median(copies),
                    median(writes),
                    median(checks),
                    rounds);
        }
    }

    /** Zeros would be pages that the system shares. */
    private static void fill(ParameterSet parameters) {
        Random random = new Random(2);
        byte[] block = new byte[1 << 20];
        for (var storage : parameters.storages()) {
            for (long at = 0; at < storage.bytes(); at += block.length) {
                random.nextBytes(block);
                int bytes = (int) Math.min(block.length, storage.bytes() - at);
                storage.segment()
                        .asSlice(at, bytes)
                        .copyFrom(MemorySegment.ofArray(block).asSlice(0, bytes));
            }
        }
    }

    private static double median(double[] values) {
        return median(Arrays.stream(values).skip(1).boxed().toList());
    }

    private static double median(List<Double> values) {
        List<Double> sorted = values.stream().sorted().toList();
        int middle = sorted.size() / 2;
        return sorted.size() % 2 == 1
                ? sorted.get(middle)
                : (sorted.get(middle - 1) + sorted.get(middle)) / 2;
    }

    private static double mean(List<Double> values) {
        return values.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
    }

    private static void delete(Path path) throws IOException {
        if (Files.isDirectory(path)) {
            List<Path> inside;
            try (var files = Files.list(path)) {
                inside = files.toList();
            }
            for (Path file : inside) {
                delete(file);
            }
        }
        Files.deleteIfExists(path);
    }
}
