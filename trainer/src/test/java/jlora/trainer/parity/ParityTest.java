package jlora.trainer.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;

import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.io.Json;
import jlora.runtime.io.SafetensorsEntry;
import jlora.runtime.io.SafetensorsFile;
import jlora.runtime.nn.StepInputs;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.weight.CheckpointTensor;
import jlora.runtime.weight.Placement;
import jlora.trainer.config.RunConfig;
import jlora.trainer.data.Batch;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.data.Example;
import jlora.trainer.data.Examples;
import jlora.trainer.job.Device;
import jlora.trainer.job.RunData;
import jlora.trainer.job.TrainJob;
import jlora.trainer.loop.Evaluator;
import jlora.trainer.loop.Passes;
import jlora.trainer.loop.Session;
import jlora.trainer.loop.StepMemory;
import jlora.trainer.metrics.MetricsHistory;
import jlora.trainer.metrics.StepMetrics;

import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * Whole runs against Transformers + PEFT in f32, recorded by src/test/fixtures/make_parity.py, on
 * every backend of the CPU. The README beside the recordings says how far f32 itself is from f64 on
 * them, which is what the tolerances stand on.
 */
@Execution(ExecutionMode.CONCURRENT)
class ParityTest {
    private static final Path CASES = Path.of("src/test/resources/parity");
    private static final double LOSS = 2e-5;
    private static final double GRAD_NORM = 1e-4;
    private static final double LOGITS = 1e-4;
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

    @Execution(ExecutionMode.SAME_THREAD)
    @ParameterizedTest
    @MethodSource("cases")
    void trainsAsPeftDoesByDefinition(String name) {
        try (Backend backend = new ReferenceBackend()) {
            check(name, backend);
        }
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @ParameterizedTest
    @MethodSource("cases")
    void trainsAsPeftDoesWithOneDnn(String name) {
        try (Backend backend = new CpuBackend(new CpuOptions(2, ProductLibrary.ONEDNN))) {
            check(name, backend);
        }
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @ParameterizedTest
    @MethodSource("cases")
    void trainsAsPeftDoesWithVectorProducts(String name) {
        try (Backend backend = new CpuBackend(new CpuOptions(2, ProductLibrary.VECTOR))) {
            check(name, backend);
        }
    }

    /** Holds a whole run on a backend against the recorded one. */
    static void check(String name, Backend backend) {
        Path folder = CASES.resolve(name);
        RunConfig config =
                RunConfig.load(
                        Optional.of(folder.resolve("run.yaml")),
                        List.of(
                                "eval_strategy=no",
                                "eval_datasets=[{path: "
                                        + folder.resolve("eval.jsonl").toAbsolutePath()
                                        + ", type: tokens}]"));
        JsonNode expected = Json.readObject(folder.resolve("expected.json"));
        try (TrainJob job = new TrainJob(config, Device.cpu().limitedTo(1L << 30), 1);
                SafetensorsFile tensors =
                        SafetensorsFile.open(folder.resolve("expected.safetensors"))) {
            job.load(backend);
            MetricsHistory history = new MetricsHistory();
            job.train(history);
            assertSteps(expected.get("steps"), history.steps());
            BatchSchedule rows = job.data().evaluation().orElseThrow();
            Evaluator.Result loss;
            try (Evaluator evaluator =
                    new Evaluator(job.session(), job.plan().evaluation().orElseThrow(), rows)) {
                loss = evaluator.run();
            }
            assertEquals(
                    expected.get("eval_labels").longValue(),
                    loss.tokens(),
                    "labels to evaluate on");
            assertEquals(expected.get("eval_loss").doubleValue(), loss.loss(), LOSS, "eval_loss");
            assertWeights(job, tensors);
            assertLogits(
                    job, RunData.forEvaluation(config, job.model().model().config(), 1), tensors);
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

    /** The trained tensors: all of the recorded ones but the logits. */
    private static void assertWeights(TrainJob job, SafetensorsFile expected) {
        List<Double> differences = new ArrayList<>();
        int tensors = 1;
        for (LoraAdapter adapter : job.model().blueprint().adapters()) {
            for (var module : job.session().adapter(adapter).modules().entrySet()) {
                String name = "base_model.model." + module.getKey();
                compare(expected, name + ".lora_A.weight", module.getValue().a(), differences);
                compare(expected, name + ".lora_B.weight", module.getValue().b(), differences);
                tensors += 2;
            }
        }
        if (job.model().blueprint().adapters().isEmpty()) {
            for (CheckpointTensor tensor : job.model().model().weights().checkpoint()) {
                assertFalse(tensor.transposed(), "no full run of GPT-2 is recorded");
                compare(expected, tensor.name(), job.session().read(tensor.target()), differences);
                tensors++;
            }
        }
        assertEquals(tensors, expected.entries().size(), "recorded tensors");
        double worst = differences.stream().mapToDouble(d -> d).max().orElseThrow();
        assertTrue(worst <= WEIGHT, "largest difference of a trained value is " + worst);
        long close = differences.stream().filter(d -> d <= MOST_WEIGHTS).count();
        assertTrue(
                close >= 0.999 * differences.size(),
                close + " of " + differences.size() + " are close");
    }

    private static void compare(
            SafetensorsFile expected, String name, float[] got, List<Double> differences) {
        float[] wanted = floats(expected, name);
        assertEquals(wanted.length, got.length, name);
        for (int i = 0; i < wanted.length; i++) {
            differences.add((double) Math.abs(wanted[i] - got[i]));
        }
    }

    private static float[] floats(SafetensorsFile file, String name) {
        SafetensorsEntry entry = file.entry(name);
        return entry.data().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
    }

    /** Logits of every token that may be attended; what the others hold is not defined. */
    private static void assertLogits(TrainJob job, Examples rows, SafetensorsFile expected) {
        float[] wanted = floats(expected, "logits");
        int vocabulary = job.model().model().config().vocabSize();
        int longest = 0;
        for (int r = 0; r < rows.size(); r++) {
            longest = Math.max(longest, rows.get(r).length());
        }
        assertEquals(wanted.length, rows.size() * longest * vocabulary);
        for (int r = 0; r < rows.size(); r++) {
            Example row = rows.get(r);
            float[] got = logits(job, Batch.ofAllTokens(List.of(row)));
            for (int t = 0; t < row.length(); t++) {
                for (int v = 0; v < vocabulary && row.attended(t); v++) {
                    assertEquals(
                            wanted[(r * longest + t) * vocabulary + v],
                            got[t * vocabulary + v],
                            LOGITS,
                            "logit of row " + r + ", token " + t + ", id " + v);
                }
            }
        }
    }

    private static float[] logits(TrainJob job, Batch batch) {
        Session session = job.session();
        StepInputs inputs = StepInputs.of(batch.tokens(), 1, false, batch.masked());
        Passes.Logits pass =
                new Passes(session.blueprint(), 0, 1 << 20).logits(inputs, batch.tokens());
        try (MemoryArena arena = session.backend().allocate("plan", pass.plan().arenaBytes());
                MemoryArena inputArena =
                        session.backend().allocate("inputs", Placement.bytes(inputs.storages()))) {
            pass.plan().bind(arena);
            StepMemory.place(inputs, inputArena);
            StepMemory.upload(session.backend(), inputs, batch, new float[2], 0, 0);
            pass.plan().run(session.backend());
            return session.read(pass.logits());
        }
    }
}
