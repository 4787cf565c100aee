package jlora.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Collective;
import jlora.runtime.backend.ThreadCollective;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.plan.Recompute;
import jlora.runtime.tensor.DType;
import jlora.trainer.data.Batch;
import jlora.trainer.data.BatchOptions;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.data.Example;
import jlora.trainer.data.Examples;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.stream.IntStream;

/** Several workers, here threads that sum in memory, against one worker with their batches. */
class WorkersTest {
    private static final int STEPS = 6;
    private static final double LOSS_TOLERANCE = 1e-6;

    /** Sums in another order, over six steps of AdamW. */
    private static final double ADAPTER_TOLERANCE = 2e-5;

    /** What a run came to. */
    private record Outcome(List<TrainEngine.StepResult> steps, List<float[]> adapter) {
        double loss(int step) {
            return steps.get(step).loss();
        }
    }

    /** The rows of a step, of very different lengths. */
    private static List<Example> rows(int step, int count) {
        return IntStream.range(0, count)
                .mapToObj(i -> TinyRun.row(4 + (5 * i + 3 * step) % 7, 1000 * step + i))
                .toList();
    }

    /** The rows in micro-batches of so many, the last one smaller where they do not divide. */
    private static Batch[] batches(List<Example> rows, int each) {
        List<Batch> batches = new ArrayList<>();
        for (int i = 0; i < rows.size(); i += each) {
            batches.add(Batch.of(rows.subList(i, Math.min(rows.size(), i + each))));
        }
        return batches.toArray(Batch[]::new);
    }

    private static TinyRun tiny(CpuBackend backend, float dropout) {
        return new TinyRun(
                backend,
                TinyRun.LLAMA,
                DType.F32,
                Recompute.none(),
                false,
                List.of(new TinyRun.AdapterSetup("a", 3, 1.5f, dropout, module -> true)));
    }

    private static Outcome train(TinyRun run, int rowsOfStep, int each) {
        List<TrainEngine.StepResult> steps = new ArrayList<>();
        for (int step = 0; step < STEPS; step++) {
            steps.add(run.step(batches(rows(step, rowsOfStep), each)));
        }
        return new Outcome(steps, floats(run.values(0)));
    }

    private static List<float[]> floats(AdapterValues values) {
        return values.modules().values().stream()
                .flatMap(pair -> List.of(pair.a(), pair.b()).stream())
                .toList();
    }

    private static Outcome alone(int rowsOfStep, int each, float dropout) {
        try (CpuBackend backend = new CpuBackend(new CpuOptions(1, ProductLibrary.AUTO));
                TinyRun run = tiny(backend, dropout)) {
            return train(run, rowsOfStep, each);
        }
    }

    /** Runs something on as many ranks as there are threads; none is left behind. */
    private static <T> List<T> together(int ranks, Function<Collective, T> work) {
        try (ExecutorService threads = Executors.newFixedThreadPool(ranks)) {
            List<Future<T>> futures =
                    ThreadCollective.group(ranks).stream()
                            .map(
                                    collective ->
                                            threads.submit(
                                                    () -> {
                                                        try (collective) {
                                                            T result = work.apply(collective);
                                                            collective.finish();
                                                            return result;
                                                        }
                                                    }))
                            .toList();
            List<T> results = new ArrayList<>();
            for (Future<T> future : futures) {
                results.add(future.get());
            }
            return results;
        } catch (ExecutionException e) {
            throw new AssertionError(e.getCause());
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static List<Outcome> shared(int ranks, int rowsOfStep, int each, float dropout) {
        return together(
                ranks,
                collective -> {
                    try (CpuBackend backend =
                                    new CpuBackend(new CpuOptions(1, ProductLibrary.AUTO));
                            TinyRun run = tiny(backend, dropout)) {
                        run.share(new Workers(collective, 8, () -> false));
                        return train(run, rowsOfStep, each);
                    }
                });
    }

    private static void assertClose(Outcome expected, Outcome found) {
        for (int step = 0; step < STEPS; step++) {
            double loss = expected.loss(step);
            assertEquals(loss, found.loss(step), LOSS_TOLERANCE * loss, "step " + step);
            double norm = expected.steps.get(step).gradNorm();
            assertEquals(norm, found.steps.get(step).gradNorm(), 1e-5 * norm, "step " + step);
        }
        double largest = 0;
        for (int i = 0; i < expected.adapter.size(); i++) {
            for (int k = 0; k < expected.adapter.get(i).length; k++) {
                largest =
                        Math.max(
                                largest,
                                Math.abs(expected.adapter.get(i)[k] - found.adapter.get(i)[k]));
            }
        }
        assertTrue(largest < ADAPTER_TOLERANCE, "adapters differ by " + largest);
    }

    private static void assertSameBits(Outcome expected, Outcome found) {
        for (int step = 0; step < STEPS; step++) {
            assertEquals(expected.loss(step), found.loss(step), "step " + step);
            assertArrayEquals(
                    expected.steps.get(step).gradNorms(), found.steps.get(step).gradNorms());
        }
        for (int i = 0; i < expected.adapter.size(); i++) {
            assertArrayEquals(expected.adapter.get(i), found.adapter.get(i));
        }
    }

    /** Row counts that divide evenly, that leave a rank half a batch, and that leave it none. */
    @ParameterizedTest
    @CsvSource({"2, 6, 3", "2, 6, 2", "2, 5, 3", "2, 3, 3", "4, 4, 1", "4, 6, 2", "4, 6, 1"})
    void workersTrainWhatOneTrainsOnTheWholeBatch(int ranks, int rowsOfStep, int each) {
        Outcome whole = alone(rowsOfStep, rowsOfStep, 0);
        List<Outcome> outcomes = shared(ranks, rowsOfStep, each, 0);
        assertClose(whole, outcomes.getFirst());
        for (Outcome other : outcomes) {
            assertSameBits(outcomes.getFirst(), other);
        }
        assertNotEquals(whole.loss(0), whole.loss(STEPS - 1), "nothing was learnt");
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 4})
    void aSecondRunGivesTheSameBits(int ranks) {
        assertSameBits(shared(ranks, 5, 1, 0.1f).getFirst(), shared(ranks, 5, 1, 0.1f).getFirst());
    }

    @Test
    void everyMicroBatchDropsWhatItWouldDropInARunOfOneWorker() {
        Outcome accumulated = alone(8, 2, 0.4f);
        assertClose(accumulated, shared(2, 8, 2, 0.4f).getFirst());
        assertClose(accumulated, shared(4, 8, 2, 0.4f).getFirst());
        assertTrue(
                Math.abs(accumulated.loss(0) - alone(8, 2, 0).loss(0)) > 1e-4,
                "dropout does nothing");
    }

    @Test
    void oneWorkersWishToStopReachesAllWithTheSameStep() {
        int wishedAt = 3;
        List<List<Boolean>> stops =
                together(
                        4,
                        collective -> {
                            int[] asked = {0};
                            BooleanSupplier wish =
                                    () -> collective.rank() == 2 && ++asked[0] == wishedAt;
                            try (CpuBackend backend =
                                            new CpuBackend(
                                                    new CpuOptions(1, ProductLibrary.VECTOR));
                                    TinyRun run = tiny(backend, 0)) {
                                run.share(new Workers(collective, 4, wish));
                                return train(run, 4, 1).steps.stream()
                                        .map(TrainEngine.StepResult::stop)
                                        .toList();
                            }
                        });
        List<Boolean> expected =
                IntStream.rangeClosed(1, STEPS).mapToObj(step -> step == wishedAt).toList();
        assertEquals(List.of(expected, expected, expected, expected), stops);
    }

    /** 37 batches are more than one round of two workers, and more than none of four. */
    @ParameterizedTest
    @ValueSource(ints = {2, 4})
    void evaluationGivesTheBitsOfOneWorker(int ranks) {
        Examples examples = Examples.of(rows(0, 73));
        double alone = together(1, collective -> evaluate(examples, collective, false)).getFirst();
        together(ranks, collective -> evaluate(examples, collective, true))
                .forEach(loss -> assertEquals(alone, loss));
    }

    private static double evaluate(Examples examples, Collective collective, boolean share) {
        try (CpuBackend backend = new CpuBackend(new CpuOptions(1, ProductLibrary.AUTO));
                TinyRun run = tiny(backend, 0)) {
            Evaluator evaluator =
                    new Evaluator(
                            run.session(),
                            run.evaluation(),
                            new BatchSchedule(examples, BatchOptions.inOrder(2, 64)));
            if (share) {
                evaluator.share(new Workers(collective, 1, () -> false));
            }
            // Twice: nothing of the first may be left in the second.
            assertEquals(evaluator.run(), evaluator.run());
            return evaluator.run().loss();
        }
    }
}
