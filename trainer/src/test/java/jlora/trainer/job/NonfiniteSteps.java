package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.HostValues;
import jlora.runtime.weight.Parameter;
import jlora.runtime.weight.ParameterSet;
import jlora.trainer.checkpoint.ParameterCopy;
import jlora.trainer.config.RunConfig;
import jlora.trainer.data.Batch;
import jlora.trainer.data.DataPosition;
import jlora.trainer.data.Example;
import jlora.trainer.data.StepBatches;
import jlora.trainer.loop.Session;
import jlora.trainer.loop.TrainEngine;
import jlora.trainer.metrics.MetricsHistory;
import jlora.trainer.metrics.StepMetrics;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/**
 * Steps whose loss or gradient is not finite, on any backend. Rows that hold one certain token are
 * broken: its embedding is not finite.
 */
abstract class NonfiniteSteps {
    private static final int BROKEN_TOKEN = 130;

    @TempDir Path folder;

    abstract Backend backend();

    static Example row(int seed, boolean broken) {
        int[] ids = new Random(seed).ints(9 + seed % 4, 3, BROKEN_TOKEN).toArray();
        if (broken) {
            ids[3] = BROKEN_TOKEN;
        }
        return Example.of(ids);
    }

    /** One row a step, some of them broken. */
    RunConfig config(int rows, int broken, String... settings) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < rows; i++) {
            String ids = Arrays.toString(row(i, i >= rows - broken).inputIds());
            lines.append("{\"input_ids\": %s, \"labels\": %s}%n".formatted(ids, ids));
        }
        Path data = Files.writeString(folder.resolve("rows.jsonl"), lines);
        List<String> words =
                new ArrayList<>(
                        List.of(
                                "datasets=[{path: " + data + ", type: tokens}]",
                                "per_device_train_batch_size=1",
                                "lr_scheduler_type=constant"));
        words.addAll(Arrays.asList(settings));
        return CudaRuns.config(words.toArray(String[]::new));
    }

    /** A loaded run whose certain token is {@code value} throughout. */
    static TrainJob load(RunConfig config, Backend backend, float value) {
        TrainJob job = CudaRuns.job(config);
        job.load(backend);
        breakToken(backend, job.model(), value);
        return job;
    }

    static void breakToken(Backend backend, RunModel model, float value) {
        Tensor embedding =
                model.model().weights().checkpoint().stream()
                        .filter(t -> t.name().equals("model.embed_tokens.weight"))
                        .findFirst()
                        .orElseThrow()
                        .target()
                        .rows(BROKEN_TOKEN, 1);
        float[] values = new float[(int) embedding.elements()];
        Arrays.fill(values, value);
        HostValues.write(backend, embedding, values, 1);
    }

    /**
     * Everything that an update may change, to the bit; and the gradients, which it leaves at 0.
     */
    private static List<float[]> state(Session session) {
        List<float[]> state = new ArrayList<>();
        ParameterSet parameters = session.blueprint().parameters();
        for (ParameterSet.Group group : parameters.groups()) {
            for (Tensor tensor :
                    List.of(
                            group.master(),
                            group.m(),
                            group.v(),
                            group.updates(),
                            group.gradient())) {
                state.add(session.read(tensor));
            }
        }
        for (Parameter parameter : parameters.parameters()) {
            state.add(HostValues.read(session.backend(), parameter.value()));
        }
        return state;
    }

    private static void assertSame(List<float[]> expected, List<float[]> got) {
        assertEquals(expected.size(), got.size());
        for (int i = 0; i < got.size(); i++) {
            assertArrayEquals(expected.get(i), got.get(i), "tensor " + i);
        }
    }

    private static StepBatches batches(Batch... microBatches) {
        return StepBatches.of(DataPosition.START, DataPosition.START, List.of(microBatches));
    }

    private static Batch batch(int seed, boolean broken) {
        return Batch.of(List.of(row(seed, broken)));
    }

    @ParameterizedTest
    @CsvSource({"float32, NaN", "float32, Infinity", "bfloat16, NaN", "bfloat16, -Infinity"})
    void aStepThatIsNotFiniteLeavesNoTrace(String dtype, float value) throws IOException {
        RunConfig config = config(4, 0, "dtype=" + dtype);
        try (Backend backend = backend()) {
            List<float[]> expected;
            try (TrainJob job = load(config, backend, value)) {
                TrainEngine engine = job.engine();
                for (int step = 0; step < 4; step++) {
                    assertTrue(engine.step(batches(batch(step, false)), 0.01).finite());
                }
                expected = state(job.session());
            }
            try (TrainJob job = load(config, backend, value)) {
                TrainEngine engine = job.engine();
                for (int step = 0; step < 4; step++) {
                    engine.step(batches(batch(step, false)), 0.01);
                    List<float[]> before = state(job.session());
                    assertArrayEquals(new float[] {step + 1}, engine.appliedUpdates());
                    // A whole step, and a step of which a part is broken.
                    assertFalse(engine.step(batches(batch(20 + step, true)), 0.01).finite());
                    assertSame(before, state(job.session()));
                    Batch good = batch(40 + step, false);
                    Batch bad = batch(60 + step, true);
                    TrainEngine.StepResult both =
                            engine.step(step % 2 == 0 ? batches(good, bad) : batches(bad, good), 1);
                    assertFalse(Double.isFinite(both.gradNorm()));
                    assertSame(before, state(job.session()));
                }
                assertSame(expected, state(job.session()));
            }
        }
    }

    @Test
    void restoredCopyGoesOnToTheSameBits() throws IOException {
        RunConfig config = config(4, 0, "dtype=float32");
        try (Backend backend = backend();
                TrainJob job = load(config, backend, 1);
                ParameterCopy copy = new ParameterCopy(job.session().blueprint().parameters())) {
            TrainEngine engine = job.engine();
            engine.step(batches(batch(1, false)), 0.01);
            engine.step(batches(batch(2, true)), 0.01);
            copy.take(backend);
            engine.step(batches(batch(3, false)), 0.01);
            var expected = state(job.session());
            float[] counts = engine.appliedUpdates();
            engine.step(batches(batch(4, false)), 0.01);
            copy.restore(backend);
            assertEquals(counts[0] - 1, engine.appliedUpdates()[0]);
            engine.step(batches(batch(3, false)), 0.01);
            assertSame(expected, state(job.session()));
        }
    }

    /** The numbers, from 1, of the steps whose row is broken. */
    private static List<Long> brokenSteps(TrainJob job) {
        List<Long> broken = new ArrayList<>();
        DataPosition position = DataPosition.START;
        for (long step = 1; step <= job.totalSteps(); step++) {
            StepBatches batches = job.data().training().step(position);
            if (Arrays.stream(batches.microBatches().getFirst().ids())
                    .anyMatch(id -> id == BROKEN_TOKEN)) {
                broken.add(step);
            }
            position = batches.next();
        }
        return broken;
    }

    @Test
    void skippedStepsAreCountedAndTheRunGoesOn() throws IOException {
        RunConfig config = config(8, 3, "dtype=float32", "max_steps=16", "on_nonfinite=skip");
        try (Backend backend = backend();
                TrainJob job = load(config, backend, Float.NaN)) {
            List<Long> broken = brokenSteps(job);
            assertEquals(6, broken.size());
            MetricsHistory history = new MetricsHistory();
            job.train(history);
            assertEquals(16, history.steps().size());
            long skipped = 0;
            for (StepMetrics step : history.steps()) {
                assertEquals(broken.contains(step.step()), step.skipped(), "step " + step.step());
                assertEquals(!step.skipped(), Double.isFinite(step.loss()), "step " + step.step());
                skipped += step.skipped() ? 1 : 0;
                assertEquals(skipped, step.skippedSteps());
            }
            assertArrayEquals(
                    new float[] {10},
                    job.session().read(job.model().blueprint().parameters().updates()));
        }
    }

    @Test
    void abortEndsTheRunWithTheStateOfTheStepBefore() throws IOException {
        long first;
        try (TrainJob job = CudaRuns.job(config(8, 2, "dtype=float32", "max_steps=8"))) {
            first = brokenSteps(job).getFirst();
        }
        assertNotEquals(1, first, "a step must come before it");
        RunConfig shorter = config(8, 2, "dtype=float32", "max_steps=" + (first - 1));
        RunConfig config = config(8, 2, "dtype=float32", "max_steps=" + first);
        try (Backend backend = backend()) {
            List<float[]> expected;
            try (TrainJob job = load(shorter, backend, Float.NaN)) {
                job.train(new MetricsHistory());
                expected = state(job.session());
            }
            try (TrainJob job = load(config, backend, Float.NaN)) {
                MetricsHistory history = new MetricsHistory();
                JloraException e = assertThrows(JloraException.class, () -> job.train(history));
                assertEquals(ExitCode.NUMERICS, e.exitCode());
                assertTrue(
                        e.getMessage().startsWith("Step " + first + ": the loss is NaN"),
                        e.getMessage());
                assertEquals(first - 1, history.steps().size());
                assertSame(expected, state(job.session()));
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3})
    void tooManyInARowEndTheRun(int most) throws IOException {
        RunConfig config =
                config(
                        4,
                        4,
                        "dtype=float32",
                        "max_steps=8",
                        "on_nonfinite=skip",
                        "max_nonfinite_steps=" + most);
        try (Backend backend = backend();
                TrainJob job = load(config, backend, Float.NaN)) {
            List<float[]> before = state(job.session());
            MetricsHistory history = new MetricsHistory();
            JloraException e = assertThrows(JloraException.class, () -> job.train(history));
            assertEquals(ExitCode.NUMERICS, e.exitCode());
            assertTrue(e.getMessage().startsWith("Step " + most + ": "), e.getMessage());
            assertTrue(e.getMessage().contains("max_nonfinite_steps"), e.getMessage());
            assertEquals(most - 1, history.steps().size());
            assertSame(before, state(job.session()));
        }
    }
}
