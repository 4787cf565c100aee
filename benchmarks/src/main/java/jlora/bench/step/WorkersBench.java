package jlora.bench.step;

import jlora.bench.Program;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Collective;
import jlora.runtime.backend.cpu.mpi.MpiCollective;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Placement;
import jlora.trainer.config.RunConfig;
import jlora.trainer.data.Batch;
import jlora.trainer.data.DataPosition;
import jlora.trainer.data.Example;
import jlora.trainer.data.StepBatches;
import jlora.trainer.job.Backends;
import jlora.trainer.job.Device;
import jlora.trainer.job.PlanJob;
import jlora.trainer.loop.Session;
import jlora.trainer.loop.TrainEngine;
import jlora.trainer.loop.Workers;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * What the exchange costs of a step that MPI ranks share: start it by mpirun. Of the two sums of a
 * step the first is small, so its time is that of waiting for the others; the second moves the
 * gradients.
 */
@Command(
        name = "workers",
        description = "Prints the share of a step that workers on CPUs spend on their exchange.")
public final class WorkersBench implements Runnable {
    @Mixin private Program.Help help;

    @Option(names = "--steps", defaultValue = "8", description = "Timed (${DEFAULT-VALUE}).")
    private int steps;

    @Option(names = "--warmup", defaultValue = "4", description = "Before (${DEFAULT-VALUE}).")
    private int warmup;

    @Option(
            names = "--flat",
            defaultValue = "41943040",
            description = "Numbers of a buffer that is summed alone (${DEFAULT-VALUE}).")
    private long flat;

    @Parameters(
            arity = "0..*",
            paramLabel = "KEY=VALUE",
            description = "Keys of a configuration: a model with random weights, batch, length.")
    private List<String> overrides = new ArrayList<>();

    /** Runs the command line to its exit code. */
    public static void main(String[] arguments) {
        System.exit(Program.run(new WorkersBench(), arguments));
    }

    /** Adds up the time of sums: the small ones, and the large ones. */
    private static final class Timed implements Collective {
        private final Collective inner;
        private long small;
        private long large;

        Timed(Collective inner) {
            this.inner = inner;
        }

        @Override
        public int rank() {
            return inner.rank();
        }

        @Override
        public int ranks() {
            return inner.ranks();
        }

        @Override
        public String describe() {
            return inner.describe();
        }

        @Override
        public void sum(Tensor inPlace) {
            long start = System.nanoTime();
            inner.sum(inPlace);
            long nanos = System.nanoTime() - start;
            if (inPlace.elements() < 1000) {
                small += nanos;
            } else {
                large += nanos;
            }
        }

        @Override
        public void gather(Tensor whole, Tensor part) {
            inner.gather(whole, part);
        }

        @Override
        public void finish() {
            inner.finish();
        }

        @Override
        public void close() {
            inner.close();
        }
    }

    @Override
    public void run() {
        List<String> words = new ArrayList<>(List.of("random_init=true", "device=cpu"));
        words.addAll(overrides);
        RunConfig config = RunConfig.load(Optional.empty(), words);
        try (Backend backend = Backends.open(config);
                MpiCollective mpi = MpiCollective.join(Duration.ofMinutes(5))) {
            step(config, backend, new Timed(mpi));
            buffer(backend, mpi);
            mpi.finish();
        }
    }

    private void step(RunConfig config, Backend backend, Timed timed) {
        PlanJob job = new PlanJob(config, Device.cpu());
        try (Session session = job.open(backend)) {
            TrainEngine engine = job.engine(session);
            engine.share(new Workers(timed, timed.ranks(), () -> false));
            StepBatches batches = batches(job, timed.ranks());
            double[] seconds = new double[steps];
            double[] waits = new double[steps];
            double[] sums = new double[steps];
            for (int i = -warmup; i < steps; i++) {
                timed.small = 0;
                timed.large = 0;
                long start = System.nanoTime();
                engine.step(batches, 1e-4);
                if (i >= 0) {
                    seconds[i] = (System.nanoTime() - start) / 1e9;
                    waits[i] = timed.small / 1e9;
                    sums[i] = timed.large / 1e9;
                }
            }
            if (timed.rank() == 0) {
                double step = median(seconds);
                System.out.printf(
                        Locale.ROOT,
                        "| %d | %s | %,d | %.0f | %.2f | %.2f | %.2f %% |%n",
                        timed.ranks(),
                        backend.describe().replaceAll(".*, (\\d+ threads?), .*", "$1"),
                        job.plan().trainedParameters(),
                        step * 1e3,
                        median(waits) * 1e3,
                        median(sums) * 1e3,
                        100 * median(sums) / step);
            }
        }
    }

    private static StepBatches batches(PlanJob job, int ranks) {
        Random random = new Random(1);
        int vocabulary = job.model().model().config().vocabSize();
        List<Batch> batches =
                IntStream.range(0, ranks)
                        .mapToObj(
                                _ ->
                                        Batch.of(
                                                IntStream.range(0, job.batchSize().sequences())
                                                        .mapToObj(
                                                                _ ->
                                                                        Example.of(
                                                                                random.ints(
                                                                                                job.batchSize()
                                                                                                        .longest(),
                                                                                                0,
                                                                                                vocabulary)
                                                                                        .toArray()))
                                                        .toList()))
                        .toList();
        return StepBatches.of(DataPosition.START, DataPosition.START, batches);
    }

    /** A flat buffer alone, as large as the gradients of a large model's adapters. */
    private void buffer(Backend backend, Collective workers) {
        Tensor numbers = Tensor.dense("numbers", Storage.Role.GRADIENT, DType.F32, 1, flat);
        try (MemoryArena _ =
                Placement.allocate(backend, numbers.name(), List.of(numbers.storage()))) {
            double[] seconds = new double[steps];
            for (int i = -warmup; i < steps; i++) {
                long start = System.nanoTime();
                workers.sum(numbers);
                if (i >= 0) {
                    seconds[i] = (System.nanoTime() - start) / 1e9;
                }
            }
            if (workers.rank() == 0) {
                double median = median(seconds);
                System.out.printf(
                        Locale.ROOT,
                        "| %d | %,d | %.1f | %.2f |%n",
                        workers.ranks(),
                        flat,
                        median * 1e3,
                        flat * 4 / median / 1e9);
            }
        }
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }
}
