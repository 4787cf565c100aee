package jlora.bench.step;

import jlora.bench.Program;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.io.AtomicFile;
import jlora.runtime.io.Json;
import jlora.runtime.tensor.DType;
import jlora.trainer.bench.Ceilings;
import jlora.trainer.config.Purpose;
import jlora.trainer.config.RunConfig;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.data.DataPosition;
import jlora.trainer.data.StepBatches;
import jlora.trainer.job.Backends;
import jlora.trainer.job.TrainJob;
import jlora.trainer.loop.TrainEngine;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Runs a training configuration for some steps and prints where their time goes: one row per op,
 * against what the processor does in the same run. Nothing is written to output_dir.
 */
@Command(
        name = "step-profile",
        description = "Prints where the time of a training step goes, op by op.")
public final class StepProfile implements Runnable {
    @Mixin private Program.Help help;

    @Option(
            names = {"-c", "--config"},
            required = true,
            paramLabel = "FILE",
            description = "Run configuration, as for jlora train.")
    private Path file;

    @Option(
            names = "--warmup",
            paramLabel = "N",
            defaultValue = "3",
            description = "Steps before the timed ones (default ${DEFAULT-VALUE}).")
    private int warmup;

    @Option(
            names = "--steps",
            paramLabel = "N",
            defaultValue = "5",
            description = "Timed steps (default ${DEFAULT-VALUE}).")
    private int steps;

    @Option(
            names = "--json",
            paramLabel = "FILE",
            description = "Write the numbers here too, as JSON.")
    private Optional<Path> json = Optional.empty();

    @Parameters(
            arity = "0..*",
            paramLabel = "KEY=VALUE",
            description = "Any key of the configuration, which wins over the file.")
    private List<String> overrides = new ArrayList<>();

    /** Runs the command line to its exit code. */
    public static void main(String[] arguments) {
        System.exit(Program.run(new StepProfile(), arguments));
    }

    @Override
    public void run() {
        if (warmup < 0 || steps < 1) {
            throw JloraException.usage(
                    "--warmup "
                            + warmup
                            + " --steps "
                            + steps
                            + ": give at least 0 warm-up steps and 1 timed step");
        }
        RunConfig config = RunConfig.load(Optional.of(file), overrides);
        config.require(Purpose.TRAIN);
        int threads = Backends.threads(config);
        try (Backend backend = Backends.open(config);
                TrainJob job = new TrainJob(config, Backends.device(config, backend), threads)) {
            DType dtype = job.model().model().weights().dtype();
            job.requireFit();
            job.load(backend);
            Profile profile = profile(job, backend, dtype, threads);
            System.out.print(profile.markdown());
            json.ifPresent(path -> AtomicFile.write(path, Json.pretty(profile.json())));
        }
    }

    private Profile profile(TrainJob job, Backend backend, DType dtype, int threads) {
        OpTimes times = new OpTimes();
        TrainEngine engine = job.engine();
        engine.runPlansBy(times::run);
        BatchSchedule data = job.data().training();
        double rate = job.model().config().train().learningRate();
        Ceilings before = Ceilings.measure(backend, dtype);
        DataPosition position = DataPosition.START;
        long tokens = 0;
        long start = 0;
        for (int done = 0; done < warmup + steps; done++) {
            if (done == warmup) {
                times.clear();
                tokens = 0;
                start = System.nanoTime();
            }
            StepBatches batches = data.step(position);
            engine.step(batches, rate);
            position = batches.next();
            tokens += batches.tokens();
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        Ceilings ceilings = before.best(Ceilings.measure(backend, dtype));
        return new Profile(
                backend.describe(), dtype, steps, tokens, seconds, ceilings, times.ops(ceilings));
    }
}
