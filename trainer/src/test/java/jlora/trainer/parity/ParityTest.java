package jlora.trainer.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;

import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.io.Json;
import jlora.runtime.io.SafetensorsEntry;
import jlora.runtime.io.SafetensorsFile;
import jlora.runtime.tensor.DType;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.TrainJob;
import jlora.trainer.loop.AdapterValues;
import jlora.trainer.metrics.MetricsHistory;
import jlora.trainer.metrics.StepMetrics;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * Whole runs against Transformers + PEFT in f32, recorded by src/test/fixtures/make_parity.py. The
 * README beside the recordings says how far f32 itself is from f64 on them, which is what the
 * tolerances stand on.
 */
class ParityTest {
    private static final Path CASES = Path.of("src/test/resources/parity");
    private static final double LOSS = 2e-5;
    private static final double GRAD_NORM = 1e-4;
    private static final double WEIGHT = 1e-3;
    private static final double MOST_WEIGHTS = 1e-4;

    static List<String> cases() throws IOException {
        try (Stream<Path> folders = Files.list(CASES)) {
            return folders.filter(f -> Files.exists(f.resolve("run.yaml")))
                    .map(f -> f.getFileName().toString())
                    .sorted()
                    .toList();
        }
    }

    @ParameterizedTest
    @MethodSource("cases")
    void trainsAsPeftDoes(String name) {
        Path folder = CASES.resolve(name);
        RunConfig config = RunConfig.load(Optional.of(folder.resolve("run.yaml")), List.of());
        JsonNode expected = Json.readObject(folder.resolve("expected.json"));
        try (Backend backend = new ReferenceBackend();
                TrainJob job = new TrainJob(config, DType.F32, 1L << 30, 1);
                SafetensorsFile tensors =
                        SafetensorsFile.open(folder.resolve("expected.safetensors"))) {
            job.load(backend);
            MetricsHistory history = new MetricsHistory();
            job.train(history);
            assertSteps(expected.get("steps"), history.steps());
            assertAdapters(job, tensors);
        }
    }

    private static void assertSteps(JsonNode expected, List<StepMetrics> steps) {
        assertEquals(expected.size(), steps.size());
        for (int i = 0; i < steps.size(); i++) {
            JsonNode wanted = expected.get(i);
            StepMetrics got = steps.get(i);
            String step = "step " + (i + 1) + ": ";
            assertEquals(wanted.get("loss").doubleValue(), got.loss(), LOSS, step + "loss");
            double norm = wanted.get("grad_norm").doubleValue();
            assertEquals(
                    norm, got.gradNorm(), GRAD_NORM * Math.max(norm, 1e-3), step + "gradient norm");
            assertEquals(
                    wanted.get("learning_rate").doubleValue(),
                    got.learningRate(),
                    1e-12,
                    step + "learning rate");
        }
    }

    private static void assertAdapters(TrainJob job, SafetensorsFile expected) {
        List<Double> differences = new ArrayList<>();
        for (LoraAdapter adapter : job.model().blueprint().adapters()) {
            AdapterValues values = job.session().adapter(adapter);
            values.modules()
                    .forEach(
                            (module, pair) -> {
                                compare(
                                        expected,
                                        "base_model.model." + module + ".lora_A.weight",
                                        pair.a(),
                                        differences);
                                compare(
                                        expected,
                                        "base_model.model." + module + ".lora_B.weight",
                                        pair.b(),
                                        differences);
                            });
        }
        if (differences.isEmpty()) {
            return;
        }
        double worst = differences.stream().mapToDouble(d -> d).max().orElseThrow();
        assertTrue(worst <= WEIGHT, "largest difference of a trained value is " + worst);
        long close = differences.stream().filter(d -> d <= MOST_WEIGHTS).count();
        assertTrue(
                close >= 0.999 * differences.size(),
                close + " of " + differences.size() + " are close");
    }

    private static void compare(
            SafetensorsFile expected, String name, float[] got, List<Double> differences) {
        SafetensorsEntry entry = expected.entry(name);
        float[] wanted = entry.data().toArray(java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED);
        assertEquals(wanted.length, got.length, name);
        for (int i = 0; i < wanted.length; i++) {
            differences.add((double) Math.abs(wanted[i] - got[i]));
        }
    }
}
