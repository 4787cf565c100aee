package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.io.Json;
import jlora.runtime.io.SafetensorsEntry;
import jlora.runtime.io.SafetensorsFile;

import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * The recorded runs of Transformers and PEFT again from the command line: trained, written, read
 * back and evaluated on the backend that users get. The README beside the recordings says how far
 * f32 itself is from f64 on them.
 */
class ParityRunTest {
    private static final Path CASES = Path.of("src/test/resources/parity");
    private static final double LOSS = 2e-5;
    private static final double LOGITS = 1e-4;

    @TempDir Path folder;

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
    void whatTheRunWroteEvaluatesAsInPeft(String name) throws IOException {
        Path recorded = CASES.resolve(name);
        Path trained = folder.resolve("trained");
        CommandLineRun.succeeds(
                "train", "-c", recorded.resolve("run.yaml"), "--output_dir", trained);
        JsonNode expected = Json.readObject(recorded.resolve("expected.json"));
        assertTraining(expected.get("steps"), trained.resolve("metrics.jsonl"));

        boolean full = Files.exists(trained.resolve("model.safetensors"));
        Path logits = folder.resolve("logits.safetensors");
        String json =
                CommandLineRun.succeeds(
                        "eval",
                        "-c",
                        recorded.resolve("run.yaml"),
                        full ? "--model_name_or_path" : "--adapter_name_or_path",
                        trained,
                        "--eval_datasets[0].path=" + recorded.resolve("eval.jsonl"),
                        "--eval_datasets[0].type=tokens",
                        "--json",
                        "--logits",
                        logits);
        ObjectNode result = object(List.of(json));
        assertEquals(
                expected.get("eval_loss").doubleValue(),
                result.get("eval_loss").doubleValue(),
                LOSS);
        assertEquals(
                expected.get("eval_labels").longValue(), result.get("eval_tokens").longValue());
        try (SafetensorsFile got = SafetensorsFile.open(logits);
                SafetensorsFile wanted =
                        SafetensorsFile.open(recorded.resolve("expected.safetensors"))) {
            assertLogits(
                    wanted.entry("logits"), got.entry("logits"), recorded.resolve("eval.jsonl"));
        }
    }

    private static void assertTraining(JsonNode steps, Path metrics) throws IOException {
        List<ObjectNode> lines = new ArrayList<>();
        for (String line : Files.readAllLines(metrics)) {
            lines.add(object(List.of(line)));
        }
        assertEquals(steps.size(), lines.size());
        for (int i = 0; i < lines.size(); i++) {
            for (String key : List.of("step", "learning_rate")) {
                assertEquals(
                        steps.get(i).get(key).doubleValue(),
                        lines.get(i).get(key).doubleValue(),
                        1e-12,
                        key);
            }
            assertEquals(
                    steps.get(i).get("loss").doubleValue(),
                    lines.get(i).get("loss").doubleValue(),
                    LOSS,
                    "loss of step " + (i + 1));
        }
    }

    /** Rows are padded to the longest; what stands at a pad is not compared. */
    private static void assertLogits(SafetensorsEntry wanted, SafetensorsEntry got, Path rows)
            throws IOException {
        assertEquals("F32", got.type().toString());
        assertArrayEquals(wanted.shape(), got.shape(), "[rows, length, vocabulary]");
        long length = wanted.shape()[1];
        long vocabulary = wanted.shape()[2];
        List<String> lines = Files.readAllLines(rows);
        assertEquals(wanted.shape()[0], lines.size());
        long compared = 0;
        for (int row = 0; row < lines.size(); row++) {
            ObjectNode json = object(List.of(lines.get(row)));
            for (int t = 0; t < json.get("input_ids").size(); t++) {
                if (json.path("attention_mask").path(t).asInt(1) == 0) {
                    continue;
                }
                for (long v = 0; v < vocabulary; v++) {
                    long at = (row * length + t) * vocabulary + v;
                    float difference = Math.abs(at(wanted, at) - at(got, at));
                    assertTrue(
                            difference <= LOGITS,
                            "row " + row + ", token " + t + ": " + difference);
                    compared++;
                }
            }
        }
        assertTrue(compared >= vocabulary * lines.size(), compared + " logits compared");
    }

    private static float at(SafetensorsEntry entry, long index) {
        MemorySegment data = entry.data();
        return data.get(ValueLayout.JAVA_FLOAT_UNALIGNED, index * Float.BYTES);
    }

    private static ObjectNode object(List<String> lines) {
        return Json.parseObject(
                "json", 1, String.join("\n", lines).getBytes(StandardCharsets.UTF_8));
    }
}
