package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.io.Json;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;

/**
 * What is wrong with a run's input is one sentence that names the file, line or key and what to do,
 * with the exit code of its kind; nothing is written.
 */
class BadInputTest {
    @TempDir Path folder;
    private RunFolder run;

    @BeforeEach
    void create() throws IOException {
        run = RunFolder.create(folder);
    }

    private void trainRefused(ExitCode code, List<String> parts, Object... words) {
        run.run("train", words).refused(code, parts.toArray(String[]::new));
        assertFalse(Files.exists(run.out()), "something was written");
    }

    // The base model.

    @Test
    void missingModelFolder() {
        trainRefused(
                ExitCode.USAGE,
                List.of("command line: model_name_or_path", "absent does not exist", "hf download"),
                "--model_name_or_path",
                folder.resolve("absent"));
    }

    @Test
    void kernelsOfAGpuOnTheCpu() {
        trainRefused(
                ExitCode.USAGE,
                List.of("attention is own", "on the CPU", "set device: cuda"),
                "device=cpu",
                "attention=own");
    }

    @Test
    void missingWeights() throws IOException {
        Files.delete(run.model().resolve("model.safetensors"));
        trainRefused(
                ExitCode.CORRUPT_INPUT, List.of(run.model() + ": ", "neither model.safetensors"));
    }

    @ParameterizedTest
    @CsvSource({"0", "7", "100", "20000"})
    void truncatedWeights(long length) throws IOException {
        Path file = run.model().resolve("model.safetensors");
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            channel.truncate(length);
        }
        trainRefused(ExitCode.CORRUPT_INPUT, List.of(file + ": "));
    }

    @Test
    void missingTensor() throws IOException {
        String config = Files.readString(run.model().resolve("config.json"));
        run.write("model/config.json", config.replace("_layers\": 2", "_layers\": 3"));
        trainRefused(ExitCode.CORRUPT_INPUT, List.of(run.model().toString(), "model.layers.2."));
    }

    @Test
    void tensorOfAnotherShape() throws IOException {
        String config = Files.readString(run.model().resolve("config.json"));
        run.write("model/config.json", config.replace("_size\": 56", "_size\": 64"));
        trainRefused(
                ExitCode.CORRUPT_INPUT, List.of("model.safetensors", "mlp.gate_proj.weight", "64"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "\"model_type\": \"llama\"|\"model_type\": \"bert\"|model_type 'bert' is not"
                        + " supported; jlora supports gpt2, llama|2",
                "\"hidden_act\": \"silu\"|\"hidden_act\": \"gelu\"|hidden_act gelu is not"
                        + " supported|2",
                "\"hidden_size\": 32|\"hidden_size\": \"wide\"|hidden_size must be|3",
                "\"hidden_size\": 32,||hidden_size is missing|3",
                "\"hidden_size\": 32|\"hidden_size\": -32|hidden_size|3",
                "\"num_attention_heads\": 4|\"num_attention_heads\": 0|num_attention_heads|3",
                "\"num_key_value_heads\": 2|\"num_key_value_heads\": 3|num_key_value_heads|2",
                "\"rope_type\": \"default\"|\"rope_type\": \"yarn\"|yarn|2",
                "\"vocab_size\": 131|\"vocab_size\": 9000000000|vocab_size|3",
                "\"vocab_size\": 131|\"vocab_size\": 131]|config.json:31: not valid JSON at column"
                        + " 20|3"
            })
    void wrongConfigJson(String from, String to, String part, int code) throws IOException {
        Path file = run.model().resolve("config.json");
        String json = Files.readString(file);
        String changed = json.replace(from, to == null ? "" : to);
        assertFalse(changed.equals(json));
        Files.writeString(file, changed);
        trainRefused(
                code == 2 ? ExitCode.USAGE : ExitCode.CORRUPT_INPUT,
                List.of("model/config.json", part));
    }

    @Test
    void missingConfigJson() throws IOException {
        Files.delete(run.model().resolve("config.json"));
        trainRefused(ExitCode.CORRUPT_INPUT, List.of(run.model().toString(), "config.json"));
    }

    @Test
    void pickledWeightsAreNeverRead() throws IOException {
        Files.move(
                run.model().resolve("model.safetensors"), run.model().resolve("pytorch_model.bin"));
        trainRefused(ExitCode.CORRUPT_INPUT, List.of("pytorch_model.bin", "pickle"));
    }

    @Test
    void shardIndexThatLeavesTheFolder() throws IOException {
        Path outside = folder.resolve("outside.safetensors");
        Files.move(run.model().resolve("model.safetensors"), outside);
        run.write(
                "model/model.safetensors.index.json",
                """
                {"metadata": {}, "weight_map": {"model.norm.weight": "../outside.safetensors"}}
                """);
        trainRefused(
                ExitCode.CORRUPT_INPUT,
                List.of("model.safetensors.index.json", "../outside.safetensors"));
    }

    static Stream<Arguments> hostileHeaders() {
        return HostileSafetensors.all().entrySet().stream()
                .map(e -> arguments(e.getKey(), e.getValue()));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("hostileHeaders")
    void hostileModelFile(String what, byte[] content) throws IOException {
        Path file = Files.write(run.model().resolve("model.safetensors"), content);
        trainRefused(ExitCode.CORRUPT_INPUT, List.of(file + ": "));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("hostileHeaders")
    void hostileAdapterFile(String what, byte[] content) throws IOException {
        Path file = Files.write(adapter().resolve("adapter_model.safetensors"), content);
        trainRefused(
                ExitCode.CORRUPT_INPUT,
                List.of(file + ": "),
                "--adapter_name_or_path",
                file.getParent());
        CommandLineRun.of("inspect", file).refused(ExitCode.CORRUPT_INPUT, file + ": ");
    }

    // The adapter.

    /** An adapter that fits the model, to be spoilt. */
    private Path adapter() throws IOException {
        Path adapter = folder.resolve("adapter");
        RunFolder.copy(Path.of("src/test/resources/parity/llama_gqa_qv/adapter_init"), adapter);
        return adapter;
    }

    @Test
    void missingAdapter() throws IOException {
        trainRefused(
                ExitCode.USAGE,
                List.of("adapter_name_or_path", "absent does not exist"),
                "--adapter_name_or_path",
                folder.resolve("absent"));
        Files.delete(adapter().resolve("adapter_model.safetensors"));
        trainRefused(
                ExitCode.CORRUPT_INPUT,
                List.of(folder.resolve("adapter").toString(), "adapter_model.safetensors"),
                "--adapter_name_or_path",
                folder.resolve("adapter"));
    }

    @ParameterizedTest
    @CsvSource({"llama_head_dim", "gpt2_c_attn", "llama3_rope_old"})
    void adapterOfAnotherBase(String other) {
        Path adapter = Path.of("src/test/resources/parity", other, "adapter_init");
        for (String command : List.of("train", "eval", "merge", "generate")) {
            run.run(command, "--adapter_name_or_path", adapter)
                    .refused(
                            command.equals("generate") ? ExitCode.USAGE : ExitCode.CORRUPT_INPUT,
                            command.equals("generate") ? "tokenizer.json" : adapter.toString());
        }
        assertFalse(Files.exists(run.out()));
    }

    @Test
    void adapterThatLacksATensorOrHasOneMore() throws IOException {
        Path adapter = adapter();
        Path config = adapter.resolve("adapter_config.json");
        ObjectNode json = Json.readObject(config);
        json.putArray("target_modules").add("q_proj").add("v_proj").add("o_proj");
        Files.write(config, Json.pretty(json));
        trainRefused(
                ExitCode.CORRUPT_INPUT,
                List.of("adapter_model.safetensors", "o_proj.lora_A.weight' is missing"),
                "--adapter_name_or_path",
                adapter);
        json.putArray("target_modules").add("q_proj");
        Files.write(config, Json.pretty(json));
        trainRefused(
                ExitCode.CORRUPT_INPUT,
                List.of("adapter_model.safetensors", "v_proj.lora_A.weight", "does not target"),
                "--adapter_name_or_path",
                adapter);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "use_dora|true|use_dora",
                "bias|\"all\"|bias",
                "modules_to_save|[\"lm_head\"]|modules_to_save",
                "peft_type|\"IA3\"|IA3",
                "from_the_future|1|from_the_future",
                "r|0|r",
            })
    void adapterSettingThatIsNotUnderstood(String field, String value, String part)
            throws IOException {
        Path config = adapter().resolve("adapter_config.json");
        ObjectNode json = Json.readObject(config);
        json.set(field, Json.parseObject("x", 1, ("{\"x\": " + value + "}").getBytes()).get("x"));
        Files.write(config, Json.pretty(json));
        CommandLineRun train = run.run("train", "--adapter_name_or_path", config.getParent());
        train.refused(
                train.code() == 2 ? ExitCode.USAGE : ExitCode.CORRUPT_INPUT,
                "adapter_config.json",
                part);
        assertFalse(Files.exists(run.out()));
    }

    // The data.

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{\"input_ids\": [1, 2], \"labels\": [1|not valid JSON",
                "[1, 2]|the line is not a JSON object",
                "{\"input_ids\": [1, 2]}|labels",
                "{\"input_ids\": [1, 2], \"labels\": [1]}|labels has 1 entries but input_ids has 2",
                "{\"input_ids\": [1, 131], \"labels\": [1, 2]}|input_ids[1] is 131 but has to be 0"
                        + " to 130",
                "{\"input_ids\": [1, -1], \"labels\": [1, 2]}|input_ids[1] is -1",
                "{\"input_ids\": [1, 2], \"labels\": [1, 500]}|labels[1] is 500 but has to be -100"
                        + " or 0 to 130",
                "{\"input_ids\": [1, 2.5], \"labels\": [1, 2]}|input_ids",
                "{\"input_ids\": [], \"labels\": []}|input_ids is empty",
                "{\"input_ids\": [1], \"labels\": [1], \"attention_mask\": [2]}|attention_mask[0]"
                        + " is 2",
            })
    void wrongRow(String row, String part) throws IOException {
        String good = Files.readAllLines(run.path("train.jsonl")).getFirst();
        run.write("train.jsonl", good + "\n" + row + "\n" + good + "\n");
        trainRefused(ExitCode.CORRUPT_INPUT, List.of("train.jsonl:2: ", part));
        run.run("eval", "eval_datasets[0].path=" + run.path("train.jsonl"))
                .refused(ExitCode.CORRUPT_INPUT, "train.jsonl:2: ", part);
    }

    @Test
    void rowLongerThanTheModelAllows() throws IOException {
        String ids = "[" + "1, ".repeat(64) + "1]";
        run.write("train.jsonl", "{\"input_ids\": " + ids + ", \"labels\": " + ids + "}\n");
        trainRefused(
                ExitCode.CORRUPT_INPUT,
                List.of("train.jsonl:1: ", "the row has 65 tokens but at most 64 are allowed"));
        trainRefused(
                ExitCode.USAGE,
                List.of("command line: max_length is 65, but the model allows", "64 tokens"),
                "--max_length",
                65);
        run.run("plan", "--max_length=65").refused(ExitCode.USAGE, "max_length is 65");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {"''|train.jsonl holds no rows", "'\n\n'|train.jsonl"})
    void emptyDataSet(String content, String part) throws IOException {
        run.write("train.jsonl", content);
        trainRefused(ExitCode.CORRUPT_INPUT, List.of(part));
    }

    @Test
    void missingDataSet() throws IOException {
        Files.delete(run.path("eval.jsonl"));
        trainRefused(
                ExitCode.USAGE,
                List.of("run.yaml:4: eval_datasets[0].path", "eval.jsonl does not exist"));
        trainRefused(
                ExitCode.USAGE, List.of("datasets[0].path", "is a folder"), "datasets[0].path=.");
    }

    @Test
    void truncatedGzip() throws IOException {
        Path file = run.path("rows.jsonl.gz");
        try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(file))) {
            Files.copy(run.path("train.jsonl"), out);
        }
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            channel.truncate(channel.size() - 20);
        }
        trainRefused(
                ExitCode.CORRUPT_INPUT,
                List.of("rows.jsonl.gz", "truncated or damaged gzip"),
                "datasets[0].path=" + file);
    }

    @Test
    void dataSetWithoutAnyTrainedToken() throws IOException {
        run.write("masked.jsonl", "{\"input_ids\": [1, 2, 3], \"labels\": [1, -100, -100]}\n");
        String path = "path=" + run.path("masked.jsonl");
        trainRefused(
                ExitCode.CORRUPT_INPUT,
                List.of("None of the 1 row of ", "masked.jsonl has a token to train on"),
                "datasets[0]." + path);
        trainRefused(ExitCode.CORRUPT_INPUT, List.of("masked.jsonl"), "eval_datasets[0]." + path);
    }

    @ParameterizedTest
    @CsvSource({"0.5, 1", "0.01, 1", "1, 1", "5, 5", "1e12, 5"})
    void splitThatHoldsOutEverything(String split, int rows) throws IOException {
        String row = "{\"input_ids\": [1, 2, 3], \"labels\": [1, 2, 3]}\n";
        run.write("train.jsonl", row.repeat(rows));
        String yaml = Files.readString(run.config()).replaceAll("eval_datasets.*", "");
        run.write("run.yaml", yaml + "eval_split: " + split + "\n");
        trainRefused(ExitCode.USAGE, List.of("run.yaml:10: eval_split holds out all of " + rows));
    }

    @Test
    void splitWithoutATokenToEvaluateOn() throws IOException {
        String masked = "{\"input_ids\": [1, 2, 3], \"labels\": [-100, -100, -100]}\n";
        run.write("train.jsonl", masked.repeat(9) + masked.replace("-100]", "3]"));
        String yaml = Files.readString(run.config()).replaceAll("eval_datasets.*", "");
        run.write("run.yaml", yaml + "eval_split: 2\n");
        trainRefused(ExitCode.USAGE, List.of("eval_split leaves no token with a loss to "));
    }

    @Test
    void textWithoutATokenizer() throws IOException {
        run.write("text.jsonl", "{\"text\": \"Once\"}\n");
        trainRefused(
                ExitCode.USAGE,
                List.of(run.model().toString(), "tokenizer.json"),
                "datasets=[{path: " + run.path("text.jsonl") + ", type: text}]");
        run.run("generate", "--prompt", "Once")
                .refused(ExitCode.USAGE, run.model().toString(), "tokenizer.json");
    }

    // The configuration.

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "--lora_rr 8|command line: unknown key 'lora_rr'; did you mean 'lora_r'?",
                "lora_rr=8|command line: unknown key 'lora_rr'; did you mean 'lora_r'?",
                "--lora_r 0|command line: lora_r is 0, but must be at least 1",
                "--lora_r eight|command line: lora_r is 'eight', but must be a whole number",
                "--learning_rate fast|learning_rate is 'fast', but must be a number",
                "--lora_target_modules qq_proj|qq_proj",
                "--lora_target_modules=lm_head|lm_head",
                "--lora_rank_pattern={q_proj: 0}|lora_rank_pattern.q_proj is 0",
                "--device cuda:999|command line: device is cuda:999, but",
                "--device tpu|device is 'tpu', but must be auto, cpu, cuda or cuda:N",
                "--eval_split 0.5|eval_split and eval_datasets are both given",
                "--method=full --lora_r=4|lora_r has no effect with method full",
                "train.jsonl|'train.jsonl' sets nothing; write --key value or key=value",
            })
    void wrongConfiguration(String words, String part) {
        trainRefused(
                ExitCode.USAGE,
                List.of(part),
                (Object[]) words.split(words.contains("{") ? "\n" : " "));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "lora_alhpa: 8|run.yaml:10: unknown key 'lora_alhpa'; did you mean 'lora_alpha'?",
                "lora_r: 0|run.yaml:10: lora_r is 0",
                "lora_r: [8]|run.yaml:10: lora_r is a list, but must be a whole number",
                "lora_r: {|run.yaml:",
                "seed: 1;seed: 2|run.yaml:11: key 'seed' is given twice",
            })
    void wrongLineOfTheFile(String line, String part) throws IOException {
        run.write("run.yaml", Files.readString(run.config()) + line.replace(';', '\n') + "\n");
        trainRefused(ExitCode.USAGE, List.of(part));
        CommandLineRun.of("config", "validate", "-c", run.config()).refused(ExitCode.USAGE, part);
    }

    @Test
    void withoutWhatACommandNeeds() {
        CommandLineRun.of("train").refused(ExitCode.USAGE, "model_name_or_path is missing");
        CommandLineRun.of("train", "--model_name_or_path", run.model())
                .refused(ExitCode.USAGE, "output_dir is missing");
        CommandLineRun.of("train", "--model_name_or_path", run.model(), "output_dir=" + run.out())
                .refused(ExitCode.USAGE, "datasets is missing");
        assertFalse(Files.exists(run.out()));
    }

    @Test
    void planThatDoesNotFit() {
        trainRefused(
                ExitCode.OUT_OF_MEMORY,
                List.of("The run needs ", "and may take 200.00 KiB; ", "would fit"),
                "--memory_limit",
                "200KiB");
    }

    // The output.

    @Test
    void outputBelowAFile() throws IOException {
        Path file = run.write("file", "content");
        run.run("train", "--output_dir", file.resolve("out"))
                .refused(ExitCode.USAGE, "output_dir", "is not a folder", "choose another folder");
        run.run("train", "--output_dir", file)
                .refused(ExitCode.USAGE, "output_dir", "is not a folder");
        assertEquals("content", Files.readString(file));
    }

    @Test
    void outputThatHoldsARun() throws IOException {
        run.succeeds("train");
        List<Integer> before = contents();
        run.run("train").refused(ExitCode.USAGE, run.out() + " already holds a run", "--overwrite");
        run.run("train", "--overwrite", "--memory_limit=200KiB")
                .refused(ExitCode.OUT_OF_MEMORY, "The run needs");
        spoilWeights();
        run.run("train", "--overwrite").refused(ExitCode.NUMERICS, "Step 1: the loss is NaN");
        assertEquals(before, contents(), "the earlier run is as it was");
    }

    @Test
    void firstStepWithoutAFiniteLoss() throws IOException {
        spoilWeights();
        trainRefused(ExitCode.NUMERICS, List.of("Step 1: the loss is NaN", "lower learning_rate"));
    }

    @Test
    void laterStepWithoutAFiniteLossKeepsTheRecordsAndWritesNoAdapter() throws IOException {
        run.run("train", "--learning_rate=1e38", "--max_grad_norm=0", "--logging_steps=1")
                .refused(ExitCode.NUMERICS, "Step ", "lower learning_rate");
        assertTrue(Files.size(run.out().resolve("metrics.jsonl")) > 0);
        assertFalse(Files.exists(run.out().resolve("adapter_model.safetensors")));
        assertFalse(Files.exists(run.out().resolve("adapter_config.json")));
    }

    @Test
    void outputThatIsTheModel() throws IOException {
        byte[] weights = Files.readAllBytes(run.model().resolve("model.safetensors"));
        run.run("merge", "output_dir=" + run.model(), "--overwrite")
                .refused(ExitCode.USAGE, "adapter_name_or_path is missing");
        run.run(
                        "merge",
                        "output_dir=" + run.model(),
                        "--adapter_name_or_path=" + adapter(),
                        "--overwrite")
                .refused(ExitCode.USAGE, "output_dir", "is the folder of the base model");
        run.run("train", "--output_dir", run.path("out/../model"), "--overwrite")
                .refused(ExitCode.USAGE, "output_dir", "is the folder of the base model");
        assertArrayEquals(weights, Files.readAllBytes(run.model().resolve("model.safetensors")));
    }

    @Test
    void logitsThatCannotBeWritten() throws IOException {
        Path file = run.write("file", "");
        run.run("eval", "--logits", file.resolve("x.safetensors"))
                .refused(ExitCode.CHECKPOINT_IO, "x.safetensors: could not be written");
    }

    /** Makes the last weight of the model NaN. */
    private void spoilWeights() throws IOException {
        Path file = run.model().resolve("model.safetensors");
        byte[] bytes = Files.readAllBytes(file);
        Arrays.fill(bytes, bytes.length - 4, bytes.length, (byte) 0xff);
        Files.write(file, bytes);
    }

    /** A number for the content of each file of the output folder. */
    private List<Integer> contents() throws IOException {
        List<Integer> hashes = new ArrayList<>();
        try (Stream<Path> files = Files.list(run.out())) {
            for (Path file : files.sorted().toList()) {
                hashes.add(Arrays.hashCode(Files.readAllBytes(file)));
            }
        }
        assertEquals(6, hashes.size());
        return hashes;
    }
}
