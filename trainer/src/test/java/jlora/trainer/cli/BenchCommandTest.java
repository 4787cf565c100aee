package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;

import jlora.runtime.ExitCode;
import jlora.runtime.io.Json;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/** The benchmarks run and say what they measured; what they measure is not tested. */
class BenchCommandTest {
    private static final String MODEL = "src/test/resources/parity/bases/llama_gqa";

    @TempDir private Path temp;

    private JsonNode bench(String what, String... more) {
        Path json = temp.resolve(what + ".json");
        List<String> words =
                new ArrayList<>(
                        List.of(
                                "bench",
                                what,
                                "--json",
                                json.toString(),
                                "--device",
                                "cpu",
                                "--model_name_or_path",
                                MODEL,
                                "max_length=16",
                                "per_device_train_batch_size=2"));
        words.addAll(List.of(more));
        CommandLineRun run = CommandLineRun.of(words.toArray());
        assertEquals(0, run.code(), run.err());
        assertTrue(run.out().startsWith("cpu: "), run.out());
        return Json.readObject(json);
    }

    @Tag("cluster") // it measures for long
    @Test
    void memoryAndProductsShareTheKernelsOfAStep() throws IOException {
        Path page = temp.resolve("memory.html");
        JsonNode memory = bench("memory", "--report", page.toString());
        assertTrue(memory.get("copy_bytes_per_second").doubleValue() > 0);
        TreeSet<String> ops = new TreeSet<>();
        for (JsonNode row : memory.get("kernels")) {
            ops.add(row.get("op").textValue());
            assertTrue(row.get("milliseconds").doubleValue() > 0, row::toString);
            assertTrue(row.get("bytes").longValue() > 0, row::toString);
        }
        assertTrue(
                ops.containsAll(
                        List.of(
                                "embedding",
                                "rms_norm",
                                "rope",
                                "attention",
                                "swiglu",
                                "low_rank.forward",
                                "linear_cross_entropy",
                                "grad_norm",
                                "adamw")),
                ops::toString);
        List<String> outside = memory.get("outside").findValuesAsText("op");
        assertEquals(
                List.of("merge", "unmerge", "merge.fingerprint", "switch", "random_fill"), outside);
        JsonNode counts = memory.get("memory");
        // Nothing is allocated that the plan does not know, but for results of a few bytes; the
        // copy that checkpoints are written from is planned and, here, never made.
        for (JsonNode line : counts.get("lines")) {
            if (!line.get("name").textValue().startsWith("checkpoint")) {
                long more =
                        line.get("allocated_bytes").longValue()
                                - line.get("planned_bytes").longValue();
                assertTrue(more >= 0 && more <= 1024, line::toString);
            }
        }
        String html = Files.readString(page);
        for (String op : ops) {
            assertTrue(html.contains("<td>" + op + "</td>"), op);
        }
        JsonNode products = bench("gemm");
        assertTrue(products.get("lora_linear_milliseconds").doubleValue() > 0);
        assertTrue(products.get("frozen_linear_milliseconds").doubleValue() > 0);
    }

    @Tag("cluster") // it measures for long
    @ParameterizedTest
    @CsvSource({
        "load_in_4bit=true, four_bit.dequantize",
        "weight_dtype=fp8, fp8.transpose",
    })
    void kernelsOfQuantisedBasesAreRowsToo(String setting, String op) {
        JsonNode memory = bench("memory", setting);
        List<String> ops = memory.get("kernels").findValuesAsText("op");
        assertTrue(ops.contains(op), ops::toString);
        assertTrue(ops.stream().noneMatch(o -> o.endsWith(".wait")), ops::toString);
        // Nothing is merged into weights that are not there.
        assertEquals(List.of("random_fill"), memory.get("outside").findValuesAsText("op"));
    }

    @Test
    void mergingIntoQuantisedWeightsIsRefused() {
        CommandLineRun.of(
                        "bench",
                        "merge",
                        "--device=cpu",
                        "--model_name_or_path=" + MODEL,
                        "--max_length=16",
                        "--load_in_4bit")
                .refused(ExitCode.USAGE, "merged into whole weights", "leave load_in_4bit");
    }

    @Test
    void stepTrains() {
        JsonNode step = bench("step", "--warmup", "1", "--steps", "3");
        assertEquals(32, step.get("tokens").intValue());
        assertTrue(step.get("tokens_per_second").doubleValue() > 0);
        assertTrue(step.get("planned_bytes").longValue() > 0);
        // Random tokens: the loss is near that of a guess among the 131 of this vocabulary.
        assertEquals(Math.log(131), step.get("loss").doubleValue(), 0.5);
    }

    @Tag("cluster") // it measures for long
    @Test
    void mergeTakesBackWhatItDid() {
        JsonNode merge = bench("merge");
        assertTrue(merge.get("merge_milliseconds").doubleValue() > 0);
        assertTrue(merge.get("corrected_weights").longValue() > 0);
    }

    @Test
    void whatCannotBeMeasuredIsSaid() {
        CommandLineRun none = CommandLineRun.of("bench");
        assertEquals(2, none.code());
        assertTrue(none.err().contains("memory, gemm, step or merge"), none.err());
        CommandLineRun trained =
                CommandLineRun.of(
                        "bench", "step", "--model_name_or_path", MODEL, "random_init=false");
        assertEquals(2, trained.code());
        assertTrue(trained.err().contains("random_init is false"), trained.err());
    }
}
