package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.io.Json;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.Bytes;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** The commands beside train, on small models. */
class CommandsRunTest {
    @TempDir Path folder;
    private RunFolder run;

    @BeforeEach
    void create() throws IOException {
        run = RunFolder.create(folder);
    }

    @Test
    void planJsonHasTheItemsOfTheTable() {
        String table = run.succeeds("plan");
        ObjectNode json = object(run.succeeds("plan", "--json"));
        long sum = 0;
        for (JsonNode item : json.get("memory")) {
            long bytes = item.get("bytes").longValue();
            long most = item.path("most_bytes").asLong(bytes);
            String row =
                    "    %-32s %14s".formatted(item.get("name").textValue(), Bytes.text(bytes))
                            + (most > bytes
                                    ? "  (" + Bytes.text(most) + " at another time)\n"
                                    : "\n");
            assertTrue(table.contains(row), row + " is not in\n" + table);
            sum += item.get("bytes").longValue();
        }
        assertEquals(sum, json.get("total_bytes").longValue());
        assertTrue(json.get("fits").booleanValue());
        assertTrue(json.get("flops_per_step").doubleValue() > 0);
        List<String> names = json.get("memory").findValuesAsText("name");
        for (String name : List.of("adapters", "optimizer", "saved activations")) {
            assertTrue(names.stream().anyMatch(n -> n.startsWith(name)), name + ": " + names);
        }
    }

    @Test
    void planNeedsNoWeightsAndNoData() throws IOException {
        Files.delete(run.model().resolve("model.safetensors"));
        Files.delete(run.path("train.jsonl"));
        Files.delete(run.path("eval.jsonl"));
        run.succeeds("plan", "--device", "h200");
        assertFalse(Files.exists(run.out()));
    }

    @Test
    void planThatDoesNotFitIsPrintedAndEndsWithItsCode() {
        CommandLineRun plan = run.run("plan", "--memory_limit", "100KiB");
        plan.refused(ExitCode.OUT_OF_MEMORY, "The run needs", "100.00 KiB");
        assertTrue(plan.out().contains("DOES NOT FIT into"), plan.out());
    }

    @Test
    void generateContinuesThePromptAndTheAdapterChangesIt() throws Exception {
        run.withTextModel();
        String base = generate();
        assertEquals(base, generate(), "the likeliest tokens are always the same");
        assertTrue(base.startsWith("The cat"), base);
        run.succeeds(
                "train",
                "--lora_target_modules=all-linear",
                "--max_steps=60",
                "--learning_rate=2e-2",
                "--lora_alpha=16");
        String tuned = generate("--adapter_name_or_path", run.out());
        assertEquals("The cat sat on the red mat.\n", tuned);
        assertNotEquals(base, tuned);
        assertEquals(tuned, generate("--adapter_name_or_path", run.out(), "--merged"));
    }

    private String generate(Object... words) {
        return run.succeeds(
                "generate", concat(words, "--prompt", "The cat", "--max-new-tokens=20"));
    }

    private static Object[] concat(Object[] first, Object... second) {
        return Stream.concat(Arrays.stream(first), Arrays.stream(second)).toArray();
    }

    @Test
    void samplingFollowsTheSeed() throws Exception {
        run.withTextModel();
        Object[] sampled = {"--temperature=1.5", "--top-p=0.95"};
        String one = generate(concat(sampled, "--seed=1"));
        assertEquals(one, generate(concat(sampled, "--seed=1")));
        // The seed draws the random weights too, so compare within one model.
        assertNotEquals(one, generate("--seed=1"));
    }

    @Test
    void inspectShowsFilesModelsAndAdapters() {
        run.succeeds("train");
        String model = CommandLineRun.succeeds("inspect", run.model());
        assertTrue(model.contains("model_type llama"), model);
        assertTrue(model.contains("fingerprint "), model);
        String adapter = CommandLineRun.succeeds("inspect", run.out(), "--tensors");
        assertTrue(adapter.startsWith("LoRA adapter, r 8, lora_alpha 8"), adapter);
        assertTrue(adapter.contains("layers.1.self_attn.v_proj.lora_B.weight"), adapter);
        assertTrue(adapter.contains("8 tensors, 1,792 parameters"), adapter);
        String file =
                CommandLineRun.succeeds("inspect", run.out().resolve("adapter_model.safetensors"));
        assertTrue(file.contains("F32   [8, 32]"), file);
        CommandLineRun.of("inspect", folder.resolve("absent"))
                .refused(ExitCode.USAGE, "absent", "check the path");
    }

    @Test
    void misspeltOptionsNameTheNearest() {
        CommandLineRun inspect = CommandLineRun.of("inspect", "--tensros", run.model());
        assertEquals(ExitCode.USAGE.code(), inspect.code());
        assertTrue(
                inspect.err()
                        .startsWith("jlora: Unknown option: '--tensros'; did you mean --tensors"),
                inspect.err());
        run.run("generate", "--promt", "x").refused(ExitCode.USAGE, "unknown key 'promt'");
        CommandLineRun.of("config", "show", "--lora_rr=1")
                .refused(ExitCode.USAGE, "did you mean 'lora_r'?");
    }

    @Test
    void doctorNamesWhatItFound() {
        String out = CommandLineRun.succeeds("doctor");
        for (String line :
                List.of("jlora", "java home", "CPU backend", "CUDA driver", "cuBLASLt")) {
            assertTrue(out.lines().anyMatch(l -> l.startsWith(line + " ")), line + " in\n" + out);
        }
    }

    @Test
    void configCommandsCheckShowAndList() throws IOException {
        assertEquals(
                "The configuration is valid.\n",
                CommandLineRun.succeeds("config", "validate", "-c", run.config()));
        String shown =
                CommandLineRun.succeeds("config", "show", "-c", run.config(), "--lora_r", "3");
        Path again = run.write("shown.yaml", shown);
        RunConfig config = RunConfig.load(Optional.of(again), List.of());
        assertEquals(3, config.adapter().loraR());
        assertEquals(run.model(), config.model().modelNameOrPath().orElseThrow());
        assertEquals(
                config,
                RunConfig.load(Optional.of(run.write("a.yaml", config.toYaml())), List.of()));
        String keys = CommandLineRun.succeeds("config", "keys");
        RunConfig.keyNames().forEach(key -> assertTrue(keys.contains("--" + key), key));
        assertFalse(Files.exists(run.out()));
    }

    @ParameterizedTest
    @ValueSource(strings = {"--max-new-tokens=0", "--temperature=-1", "--top-p=0", "--top-p=1.5"})
    void generateRefusesSettingsOutOfRange(String word) {
        CommandLineRun generate = run.run("generate", "--prompt", "x", word);
        assertEquals(ExitCode.USAGE.code(), generate.code(), generate.err());
        assertTrue(generate.err().startsWith("jlora: --temperature must be 0 or more"));
    }

    private static ObjectNode object(String json) {
        return Json.parseObject("output", 1, json.getBytes(StandardCharsets.UTF_8));
    }
}
