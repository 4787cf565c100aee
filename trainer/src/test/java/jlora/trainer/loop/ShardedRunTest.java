package jlora.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.ThreadCollective;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.plan.Recompute;
import jlora.runtime.tensor.DType;
import jlora.runtime.weight.ModelWeights;
import jlora.runtime.weight.Sharding;
import jlora.trainer.data.Batch;
import jlora.trainer.data.BatchOptions;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.data.Example;
import jlora.trainer.data.Examples;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.BiFunction;
import java.util.stream.IntStream;

/** Ranks that keep a share of each frozen weight, as threads; each trains on data of its own. */
class ShardedRunTest {
    /**
     * @param mode of recompute; auto with a budget that makes it choose
     */
    record Setup(
            String name, String config, DType dtype, int ranks, Recompute.Mode mode, int adapters) {
        static List<Setup> all() {
            List<Setup> all = new ArrayList<>();
            // 3 ranks divide neither the 61 words of the head nor the 40 and 80 rows of the MLP; 7
            // leave the last rank without a row of the matrices with 24.
            for (Recompute.Mode mode : Recompute.Mode.values()) {
                all.add(new Setup("llama", TinyRun.LLAMA, DType.F32, 3, mode, 1));
                all.add(new Setup("gpt2", TinyRun.GPT2, DType.F32, 2, mode, 1));
                all.add(new Setup("llama", TinyRun.LLAMA, DType.BF16, 2, mode, 1));
            }
            Recompute.Mode some = Recompute.Mode.AUTO;
            all.add(new Setup("gpt2", TinyRun.GPT2, DType.BF16, 3, some, 1));
            all.add(new Setup("llama", TinyRun.LLAMA, DType.F32, 2, some, 2));
            all.add(new Setup("llama", TinyRun.LLAMA, DType.F32, 7, some, 1));
            all.add(new Setup("gpt2", TinyRun.GPT2, DType.F32, 1, some, 1));
            return all;
        }

        @Override
        public String toString() {
            return name
                    + " "
                    + dtype.torchName()
                    + ", "
                    + ranks
                    + " ranks, recompute "
                    + mode
                    + ", "
                    + adapters
                    + " adapters";
        }

        private TinyRun open(Backend backend, Recompute recompute, Optional<Sharding> sharding) {
            List<TinyRun.AdapterSetup> setups = new ArrayList<>();
            for (int i = 0; i < adapters; i++) {
                setups.add(
                        new TinyRun.AdapterSetup(
                                "adapter" + i, 3 + i, 1.5f, i * 0.3f, module -> true));
            }
            return new TinyRun(
                    backend,
                    config,
                    dtype,
                    recompute,
                    adapters > 1,
                    setups,
                    weights -> sharding.ifPresent(weights::shard));
        }

        /** Ranks need not recompute alike: with auto, each has another budget. */
        private Recompute recompute(int rank) {
            return switch (mode) {
                case NONE -> Recompute.none();
                case FULL -> Recompute.full();
                case AUTO -> Recompute.auto(rank == 0 ? 200_000 : 100_000);
            };
        }
    }

    private static Backend backend() {
        return new CpuBackend(new CpuOptions(1, ProductLibrary.VECTOR));
    }

    /** Runs all ranks at the same time, each in a thread with a backend of its own. */
    private static <T> List<T> together(
            Setup setup, boolean sharded, BiFunction<TinyRun, ThreadCollective, T> work) {
        List<ThreadCollective> group = ThreadCollective.group(setup.ranks);
        List<CompletableFuture<T>> running = new ArrayList<>();
        for (ThreadCollective collective : group) {
            CompletableFuture<T> result = new CompletableFuture<>();
            running.add(result);
            Sharding sharding = new Sharding(collective.rank(), setup.ranks);
            sharding.join(collective);
            Optional<Sharding> share = sharded ? Optional.of(sharding) : Optional.empty();
            Recompute recompute = setup.recompute(collective.rank());
            Thread.ofPlatform()
                    .start(
                            () -> {
                                try (collective;
                                        Backend backend = backend();
                                        TinyRun run = setup.open(backend, recompute, share)) {
                                    T value = work.apply(run, collective);
                                    collective.finish();
                                    result.complete(value);
                                } catch (Throwable t) {
                                    result.completeExceptionally(t);
                                }
                            });
        }
        return running.stream().map(CompletableFuture::join).toList();
    }

    static List<Setup> setups() {
        return Setup.all();
    }

    @ParameterizedTest
    @MethodSource("setups")
    void sharedWeightsGiveTheBitsOfWholeOnes(Setup setup) {
        List<List<Integer>> sharded =
                together(setup, true, (run, collective) -> bits(run, collective.rank()));
        for (int rank = 0; rank < setup.ranks; rank++) {
            try (Backend backend = backend();
                    TinyRun whole = setup.open(backend, setup.recompute(rank), Optional.empty())) {
                assertEquals(bits(whole, rank), sharded.get(rank), "rank " + rank);
            }
        }
    }

    /**
     * Data-parallel steps and evaluations whose batches do not divide among the workers: one that
     * has none takes part in what the others gather.
     */
    @ParameterizedTest
    @CsvSource({"2, 1", "2, 3", "3, 4", "3, 2"})
    void workersWithoutABatchTakePartInGathers(int ranks, int microBatches) {
        Setup setup = new Setup("llama", TinyRun.LLAMA, DType.F32, ranks, Recompute.Mode.FULL, 1);
        BiFunction<TinyRun, ThreadCollective, List<Integer>> work =
                (run, collective) -> {
                    Workers workers = new Workers(collective, microBatches, () -> false);
                    run.share(workers);
                    List<Integer> bits = new ArrayList<>();
                    for (int step = 0; step < 3; step++) {
                        int seed = 10 * step;
                        Batch[] batches =
                                IntStream.range(0, microBatches)
                                        .mapToObj(i -> batch(false, seed + i, 1 + i % 3))
                                        .toArray(Batch[]::new);
                        TrainEngine.StepResult result = run.step(batches);
                        bits.add(Float.floatToRawIntBits((float) result.loss()));
                        add(bits, result.gradNorms());
                        double loss = evaluate(run, workers, 4 + microBatches);
                        bits.add(Float.floatToRawIntBits((float) loss));
                    }
                    addAdapters(bits, run);
                    return bits;
                };
        List<List<Integer>> whole = together(setup, false, work);
        assertEquals(1, new HashSet<>(whole).size());
        assertEquals(whole, together(setup, true, work));
    }

    private static double evaluate(TinyRun run, Workers workers, int rows) {
        List<Example> examples =
                IntStream.range(0, rows).mapToObj(i -> TinyRun.row(5 + i, 300 + i)).toList();
        BatchSchedule data = new BatchSchedule(Examples.of(examples), BatchOptions.inOrder(1, 64));
        try (Evaluator evaluator = new Evaluator(run.session(), run.evaluation(), data)) {
            return evaluator.share(workers).run().loss();
        }
    }

    /** Losses, norms, evaluations and adapters of a few steps on a rank's own batches. */
    private static List<Integer> bits(TinyRun run, int rank) {
        boolean mixed = run.blueprint().mixed();
        List<Integer> bits = new ArrayList<>();
        for (int step = 0; step < 3; step++) {
            // Batches of other sizes are other plans, on each rank at other times.
            TrainEngine.StepResult result =
                    run.step(
                            batch(mixed, 100 * rank + 10 * step, 3),
                            batch(
                                    mixed,
                                    100 * rank + 10 * step + 5,
                                    (rank + step) % 2 == 0 ? 3 : 1));
            bits.add(Float.floatToRawIntBits((float) result.loss()));
            add(bits, result.gradNorms());
            bits.add(
                    Float.floatToRawIntBits(
                            (float) run.evaluate(batch(mixed, 77 + rank, 1 + rank % 3))));
        }
        assertTrue(Double.isFinite(Float.intBitsToFloat(bits.getFirst())));
        addAdapters(bits, run);
        return bits;
    }

    private static void addAdapters(List<Integer> bits, TinyRun run) {
        for (int i = 0; i < run.blueprint().adapters().size(); i++) {
            run.values(i)
                    .modules()
                    .values()
                    .forEach(
                            pair -> {
                                add(bits, pair.a());
                                add(bits, pair.b());
                            });
        }
    }

    private static Batch batch(boolean mixed, int seed, int rows) {
        Batch batch =
                Batch.of(
                        IntStream.range(0, rows)
                                .mapToObj(i -> TinyRun.row(7 + 5 * i, seed + i))
                                .toList());
        int[] adapters = IntStream.range(0, rows).map(i -> 1 - i).toArray();
        return mixed ? batch.withAdapters(adapters) : batch;
    }

    private static void add(List<Integer> bits, float[] values) {
        for (float value : values) {
            bits.add(Float.floatToRawIntBits(value));
        }
    }

    @Test
    void aRankKeepsItsShareAndNoMore() {
        Setup setup = new Setup("llama", TinyRun.LLAMA, DType.F32, 3, Recompute.Mode.NONE, 1);
        try (Backend backend = backend();
                TinyRun whole = setup.open(backend, Recompute.none(), Optional.empty())) {
            long of = matrixBytes(whole.blueprint().model().weights());
            List<Long> shares =
                    together(
                            setup,
                            true,
                            (run, _) -> matrixBytes(run.blueprint().model().weights()));
            for (long share : shares) {
                assertEquals(of / 3.0, share, 0.05 * of);
            }
        }
    }

    /** All but the embedding table, which each rank has whole. */
    private static long matrixBytes(ModelWeights weights) {
        return weights.allocatedBytes() - 61 * 24 * 4;
    }
}
