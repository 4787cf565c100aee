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

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.util.ArrayList;
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
            // 3 ranks divide none of the rows, 61 words of the head and 24 of most layers included;
            // 5 leave the last rank without a row of any [8k+…] weight.
            for (DType dtype : List.of(DType.F32, DType.BF16)) {
                for (Recompute.Mode mode : Recompute.Mode.values()) {
                    all.add(new Setup("llama", TinyRun.LLAMA, dtype, 2, mode, 1));
                    all.add(new Setup("gpt2", TinyRun.GPT2, dtype, 3, mode, 1));
                }
                all.add(new Setup("llama", TinyRun.LLAMA, dtype, 3, Recompute.Mode.FULL, 2));
                all.add(new Setup("gpt2", TinyRun.GPT2, dtype, 2, Recompute.Mode.AUTO, 2));
                all.add(new Setup("llama", TinyRun.LLAMA, dtype, 7, Recompute.Mode.NONE, 1));
                all.add(new Setup("llama", TinyRun.LLAMA, dtype, 1, Recompute.Mode.NONE, 1));
            }
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
            return new TinyRun(backend, config, dtype, recompute, adapters > 1, setups, sharding);
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
    private static <T> List<T> ranks(Setup setup, BiFunction<TinyRun, Integer, T> work) {
        List<ThreadCollective> group = ThreadCollective.group(setup.ranks);
        List<CompletableFuture<T>> running = new ArrayList<>();
        for (ThreadCollective collective : group) {
            CompletableFuture<T> result = new CompletableFuture<>();
            running.add(result);
            Thread.ofPlatform()
                    .start(
                            () -> {
                                Sharding sharding = new Sharding(collective.rank(), setup.ranks);
                                sharding.join(collective);
                                try (collective;
                                        Backend backend = backend();
                                        TinyRun run =
                                                setup.open(
                                                        backend,
                                                        setup.recompute(collective.rank()),
                                                        Optional.of(sharding))) {
                                    T value = work.apply(run, collective.rank());
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
        List<List<Integer>> sharded = ranks(setup, ShardedRunTest::bits);
        for (int rank = 0; rank < setup.ranks; rank++) {
            try (Backend backend = backend();
                    TinyRun whole = setup.open(backend, setup.recompute(rank), Optional.empty())) {
                assertEquals(bits(whole, rank), sharded.get(rank), "rank " + rank);
            }
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
        return bits;
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
            for (long share :
                    ranks(setup, (run, rank) -> matrixBytes(run.blueprint().model().weights()))) {
                assertEquals(of / 3.0, share, 0.05 * of);
            }
        }
    }

    /** All but the embedding table, which each rank has whole. */
    private static long matrixBytes(ModelWeights weights) {
        return weights.allocatedBytes() - 61 * 24 * 4;
    }
}
