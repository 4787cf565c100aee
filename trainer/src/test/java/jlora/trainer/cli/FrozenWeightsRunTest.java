package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.io.Json;
import jlora.runtime.io.PeftFolder;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** Commands over frozen weights that are quantised or lie elsewhere. */
class FrozenWeightsRunTest {
    @TempDir private Path folder;
    private RunFolder run;

    @BeforeEach
    void create() throws IOException {
        run = RunFolder.create(folder);
    }

    private static double loss(String evaluation) {
        Matcher loss = Pattern.compile("loss[ =:]+([0-9.]+)").matcher(evaluation);
        assertTrue(loss.find(), evaluation);
        return Double.parseDouble(loss.group(1));
    }

    @Test
    void anAdapterOverFourBitsIsEvaluatedOverThemAndMergedIntoTheOriginal() throws IOException {
        run.succeeds("train", "--load_in_4bit", "--lora_target_modules=all-linear");
        Path adapter = run.path("out");
        byte[] base = Files.readAllBytes(run.model().resolve("model.safetensors"));
        try (PeftFolder written = PeftFolder.open(adapter)) {
            assertEquals(Optional.of("nf4, double quantised"), written.base().storage());
        }
        // What training said last is what evaluation says over the same codes.
        String metrics = Files.readString(run.path("out").resolve("metrics.jsonl"));
        Matcher last = Pattern.compile("\"eval_loss\":([0-9.]+)").matcher(metrics);
        double trained = 0;
        while (last.find()) {
            trained = Double.parseDouble(last.group(1));
        }
        assertTrue(trained > 0, metrics);
        String over = run.succeeds("eval", "--load_in_4bit", "--adapter_name_or_path=" + adapter);
        assertEquals(trained, loss(over), 1e-4 * trained);
        String whole = run.succeeds("eval", "--adapter_name_or_path=" + adapter);
        assertTrue(Math.abs(loss(whole) - trained) > 1e-4 * trained, "the base is not quantised");

        String merged =
                run.succeeds(
                        "merge",
                        "--adapter_name_or_path=" + adapter,
                        "--output_dir=" + run.path("merged"));
        Matcher drift =
                Pattern.compile("in nf4, double quantised, which differ from them by ([0-9.]+)%")
                        .matcher(merged);
        assertTrue(drift.find(), merged);
        double percent = Double.parseDouble(drift.group(1));
        assertTrue(percent > 5 && percent < 15, merged);
        assertTrue(merged.contains("nothing was quantised"), merged);
        assertArrayEquals(base, Files.readAllBytes(run.model().resolve("model.safetensors")));
        String after =
                CommandLineRun.succeeds(
                        "eval",
                        "--model_name_or_path=" + run.path("merged"),
                        "--eval_datasets=[{path: " + run.path("eval.jsonl") + ", type: tokens}]",
                        "--max_length=64");
        assertEquals(loss(whole), loss(after), 1e-3 * loss(whole));
    }

    @Test
    void anAdapterOverFp8IsEvaluatedOverItAndMergedIntoTheOriginal() {
        run.succeeds("train", "--weight_dtype=fp8", "--dtype=bfloat16");
        String adapter = "--adapter_name_or_path=" + run.path("out");
        double over = loss(run.succeeds("eval", adapter, "--weight_dtype=fp8"));
        double whole = loss(run.succeeds("eval", adapter));
        assertEquals(whole, over, 0.02 * whole);
        String merged = run.succeeds("merge", adapter, "--output_dir=" + run.path("merged"));
        Matcher drift =
                Pattern.compile("in fp8 by rows, which differ from them by ([0-9.]+)%")
                        .matcher(merged);
        assertTrue(drift.find(), merged);
        double percent = Double.parseDouble(drift.group(1));
        assertTrue(percent > 1 && percent < 5, merged);
    }

    @Test
    void anAdapterOverPlainWeightsIsMergedWithoutWordsAboutDrift() {
        run.succeeds("train");
        String merged =
                run.succeeds(
                        "merge",
                        "--adapter_name_or_path=" + run.path("out"),
                        "--output_dir=" + run.path("merged"));
        assertFalse(merged.contains("differ"), merged);
    }

    @Test
    void planShowsWhatFourBitsTake() {
        ObjectNode plain = plan();
        ObjectNode codes = plan("--load_in_4bit");
        assertTrue(codes.get("total_bytes").longValue() < plain.get("total_bytes").longValue());
        assertEquals(
                "layers (nf4, double quantised)",
                codes.get("memory").get(0).get("name").textValue());
        ObjectNode fp4 =
                plan(
                        "--load_in_4bit",
                        "--bnb_4bit_quant_type=fp4",
                        "--bnb_4bit_use_double_quant=false");
        assertEquals("layers (fp4)", fp4.get("memory").get(0).get("name").textValue());
    }

    private ObjectNode plan(String... words) {
        String json =
                run.succeeds(
                        "plan", Stream.concat(Stream.of("--json"), Stream.of(words)).toArray());
        return Json.parseObject("plan", 1, json.getBytes(StandardCharsets.UTF_8));
    }

    @ParameterizedTest
    @CsvSource({
        "--load_in_4bit --method=full, load_in_4bit is about frozen weights",
        "--offload=host --method=full, offload is about frozen weights",
        "--load_in_4bit --shard_base, shard_base and load_in_4bit each say how",
        "--load_in_4bit --weight_dtype=fp8, weight_dtype and load_in_4bit each say how",
        "--offload=host --weight_dtype=fp8, weight_dtype and offload each say how",
        "--weight_dtype=fp8 --fp8_scales=block, set fp8_scales: row",
        "--offload=host, whose memory is the host's",
        "--load_in_4bit --bnb_4bit_quant_type=int4, bnb_4bit_quant_type",
        "--load_in_8bit, unknown key",
    })
    void whatCannotBeMeantIsOneSentence(String words, String part) {
        run.run("train", (Object[]) words.split(" ")).refused(ExitCode.USAGE, part);
        assertFalse(Files.exists(run.path("out")));
    }

    @Test
    void offloadOfTheCpuIsRefusedWhereNothingIsPlannedToo() {
        run.run("eval", "--offload=host").refused(ExitCode.USAGE, "whose memory is the host's");
    }

    @ParameterizedTest
    @CsvSource({"plan", "train"})
    void weightsThatAreQuantisedAlreadyAreRefused(String command) throws IOException {
        Path file = run.model().resolve("config.json");
        ObjectNode config = Json.readObject(file);
        config.putObject("quantization_config").put("quant_method", "bitsandbytes");
        Files.write(file, Json.pretty(config));
        run.run(command)
                .refused(
                        ExitCode.USAGE,
                        "quantised already (bitsandbytes)",
                        "take the original checkpoint");
    }

    @Test
    void keysWithoutEffectAreSaid() {
        CommandLineRun trained = run.run("train", "--bnb_4bit_quant_type=fp4");
        assertEquals(0, trained.code());
        String said = trained.out() + trained.err();
        assertTrue(
                said.contains("bnb_4bit_quant_type has no effect without load_in_4bit: true."),
                said);
    }

    @Test
    void planSaysFromWhichBatchCopiesAreHidden() throws IOException {
        run.withGeometry(4096, 14336, 32);
        String large =
                run.succeeds(
                        "plan",
                        "--device=h200",
                        "--offload=host",
                        "--random_init",
                        "--per_device_train_batch_size=4",
                        "--max_length=4096");
        assertTrue(large.contains("host memory (page-locked)"), large);
        assertTrue(large.contains("hidden from batch "), large);
        CommandLineRun small =
                run.run(
                        "plan",
                        "--device=h200",
                        "--offload=host",
                        "--random_init",
                        "--per_device_train_batch_size=1",
                        "--max_length=512");
        assertEquals(ExitCode.USAGE.code(), small.code(), small.err());
        Matcher batch =
                Pattern.compile("set per_device_train_batch_size to (\\d+) or more")
                        .matcher(small.err());
        assertTrue(batch.find(), small.err());
        int enough = Integer.parseInt(batch.group(1));
        assertTrue(enough > 1);
        run.succeeds(
                "plan",
                "--device=h200",
                "--offload=host",
                "--random_init",
                "--per_device_train_batch_size=" + enough,
                "--max_length=512");
        run.succeeds(
                "plan",
                "--device=h200",
                "--offload=host",
                "--allow_slow_offload",
                "--random_init",
                "--per_device_train_batch_size=1",
                "--max_length=512");
    }
}
