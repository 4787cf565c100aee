package jlora.trainer.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;

class MetricsTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir Path folder;

    private static RunStart start(long steps, int logging) {
        return new RunStart(0, 0, steps, 2.5, logging, Optional.of(2), 4);
    }

    private static StepMetrics step(long step, double loss) {
        return new StepMetrics(step, step / 4.0, loss, 0.1 * step, 1e-4 / step, 100 * step, 0.5);
    }

    @Test
    void eachLoggedStepIsOneJsonLineAtOnce() throws IOException {
        Path file = folder.resolve("metrics.jsonl");
        try (MetricsWriter writer = MetricsWriter.create(file)) {
            writer.started(new RunStart(0, 1000, 4, 1, 1, Optional.empty(), 4));
            writer.step(step(1, 2.5));
            assertEquals(
                    "{\"step\":1,\"epoch\":0.25,\"loss\":2.5,\"grad_norm\":0.1,\"learning_rate\":1.0E-4,\"tokens\":100,\"tokens_per_second\":200.0,\"total_tokens\":1100,\"seconds\":0.5}\n",
                    Files.readString(file));
            writer.evaluated(new EvalMetrics(1, 0.25, 0.0, 7, 0.125));
            assertEquals(
                    "{\"step\":1,\"epoch\":0.25,\"eval_loss\":0.0,\"eval_perplexity\":1.0,\"eval_tokens\":7,"
                        + "\"eval_seconds\":0.125}",
                    Files.readAllLines(file).get(1));
        }
    }

    @Test
    void everyDoubleReadsBackAsTheSameBits() throws IOException {
        Path file = folder.resolve("metrics.jsonl");
        Random random = new Random(3);
        double[] losses =
                random.longs(300)
                        .mapToDouble(Double::longBitsToDouble)
                        .filter(Double::isFinite)
                        .toArray();
        try (MetricsWriter writer = MetricsWriter.create(file)) {
            writer.started(start(losses.length, 1));
            for (int i = 0; i < losses.length; i++) {
                writer.step(step(i + 1, losses[i]));
            }
        }
        List<String> lines = Files.readAllLines(file);
        for (int i = 0; i < losses.length; i++) {
            assertEquals(losses[i], JSON.readTree(lines.get(i)).get("loss").doubleValue());
        }
    }

    @Test
    void nonFiniteValuesAreNullAndNamed() throws IOException {
        Path file = folder.resolve("metrics.jsonl");
        try (MetricsWriter writer = MetricsWriter.create(file)) {
            writer.started(start(1, 1));
            writer.step(new StepMetrics(1, 1, Double.NaN, Double.POSITIVE_INFINITY, 1, 1, 0));
        }
        JsonNode line = JSON.readTree(file.toFile());
        assertTrue(line.get("loss").isNull());
        assertTrue(line.get("grad_norm").isNull());
        assertEquals("[\"loss\",\"grad_norm\"]", line.get("non_finite").toString());
        assertEquals(0.0, line.get("tokens_per_second").doubleValue());
        assertFalse(Files.readString(file).contains("NaN"));
    }

    @Test
    void unwritableMetricsEndInASentence() {
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () -> MetricsWriter.create(folder.resolve("none/metrics.jsonl")));
        assertEquals(ExitCode.CHECKPOINT_IO, e.exitCode());
        assertTrue(
                e.getMessage().contains("metrics cannot be written (NoSuchFileException"),
                e.getMessage());
    }

    @Test
    void loggedStepsAreMeansWithTheLastStepAlwaysLogged() {
        MetricsHistory history = new MetricsHistory();
        LoggedSteps logged = new LoggedSteps(List.of(history));
        logged.started(start(5, 2));
        Stream.of(4.0, 2.0, 1.0, 0.5, 9.0)
                .reduce(
                        1L,
                        (i, loss) -> {
                            logged.step(step(i, loss));
                            return i + 1;
                        },
                        Long::sum);
        logged.evaluated(new EvalMetrics(5, 1, 1, 1, 1));
        assertEquals(2, history.steps().size());
        logged.finished();
        assertEquals(
                List.of(
                        new StepMetrics(2, 0.5, 3.0, 0.2, 1e-4 / 2, 300, 1.0),
                        new StepMetrics(4, 1.0, 0.75, 0.4, 1e-4 / 4, 700, 1.0),
                        new StepMetrics(5, 1.25, 9.0, 0.5, 1e-4 / 5, 500, 0.5)),
                history.steps());
        assertEquals(1, history.evaluations().size());
    }

    private static StepMetrics skipped(long step, long soFar) {
        return new StepMetrics(step, 1, Double.NaN, Double.NaN, 1e-4, 100, 0.5, true, soFar);
    }

    @Test
    void skippedStepsDoNotSpoilALine() {
        MetricsHistory history = new MetricsHistory();
        LoggedSteps logged = new LoggedSteps(List.of(history));
        logged.started(start(6, 3));
        logged.step(new StepMetrics(1, 1, 4, 0.25, 1e-4, 100, 0.5));
        logged.step(new StepMetrics(2, 1, 2, 0.75, 1e-4, 100, 0.5));
        logged.step(skipped(3, 1));
        logged.step(skipped(4, 2));
        logged.step(new StepMetrics(5, 1, 1, 0.5, 1e-4, 100, 0.5, false, 2));
        logged.step(skipped(6, 3));
        logged.step(skipped(7, 4));
        logged.finished();
        assertEquals(
                List.of(
                        new StepMetrics(3, 1, 3, 0.75, 1e-4, 300, 1.5, false, 1),
                        new StepMetrics(6, 1, 1, 0.5, 1e-4, 300, 1.5, false, 3),
                        skipped(7, 4)),
                history.steps());
    }

    @Test
    void metricsTellSkippedSteps() throws IOException {
        Path file = folder.resolve("metrics.jsonl");
        try (MetricsWriter writer = MetricsWriter.create(file)) {
            writer.started(start(2, 1));
            writer.step(skipped(1, 1));
            writer.step(new StepMetrics(2, 1, 4, 0.25, 1e-4, 100, 0.5, false, 1));
        }
        List<String> lines = Files.readAllLines(file);
        assertTrue(
                lines.get(0)
                        .endsWith(
                                "\"seconds\":0.5,\"skipped\":true,\"skipped_steps\":1,"
                                        + "\"non_finite\":[\"loss\",\"grad_norm\"]}"),
                lines.get(0));
        assertTrue(lines.get(1).endsWith("\"seconds\":0.5,\"skipped_steps\":1}"), lines.get(1));
    }

    @Test
    void trainerStateHasTransformersFieldsAlone() throws IOException {
        Path file = folder.resolve("trainer_state.json");
        TrainerStateWriter state = new TrainerStateWriter(file);
        assertThrows(IllegalStateException.class, state::finished);
        state.started(start(4, 1));
        state.step(step(1, 2.5));
        state.evaluated(new EvalMetrics(1, 0.25, 1.5, 10, 1));
        state.evaluated(new EvalMetrics(1, 0.25, Double.NaN, 10, 1));
        state.evaluated(new EvalMetrics(1, 0.25, 1.75, 10, 1));
        state.step(step(2, 2.0));
        state.finished();
        JsonNode json = JSON.readTree(file.toFile());
        assertEquals(
                List.of(
                        "best_metric",
                        "best_model_checkpoint",
                        "epoch",
                        "eval_steps",
                        "global_step",
                        "is_hyper_param_search",
                        "is_local_process_zero",
                        "is_world_process_zero",
                        "log_history",
                        "logging_steps",
                        "max_steps",
                        "num_input_tokens_seen",
                        "num_train_epochs",
                        "train_batch_size"),
                json.properties().stream().map(java.util.Map.Entry::getKey).toList());
        assertEquals(2, json.get("global_step").intValue());
        assertEquals(0.5, json.get("epoch").doubleValue());
        assertEquals(1.5, json.get("best_metric").doubleValue());
        assertEquals(4, json.get("max_steps").intValue());
        assertEquals(3, json.get("num_train_epochs").intValue());
        assertEquals(300, json.get("num_input_tokens_seen").intValue());
        assertEquals(5, json.get("log_history").size());
        assertEquals(2.5, json.get("log_history").get(0).get("loss").doubleValue());
        assertTrue(json.get("log_history").get(2).get("eval_loss").isNull());
        try (Stream<Path> left = Files.list(folder)) {
            assertEquals(List.of(file), left.toList());
        }
    }
}
