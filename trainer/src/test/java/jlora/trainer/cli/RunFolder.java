package jlora.trainer.cli;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * A folder with everything that a small run needs: a base model, rows of tokens, a configuration.
 */
final class RunFolder {
    private static final Path PARITY = Path.of("src/test/resources/parity");
    private static final String CASE = "llama_gqa_qv";

    private final Path folder;

    private RunFolder(Path folder) {
        this.folder = folder;
    }

    /** A Llama of two layers and 131 tokens, 64 positions, trained for six steps on its rows. */
    static RunFolder create(Path folder) throws IOException {
        RunFolder run = new RunFolder(folder);
        copy(PARITY.resolve("bases/llama_gqa"), run.model());
        for (String name : List.of("train.jsonl", "eval.jsonl")) {
            Files.copy(PARITY.resolve(CASE).resolve(name), folder.resolve(name));
        }
        run.write(
                "run.yaml",
                """
                model_name_or_path: model
                output_dir: out
                datasets: [{path: train.jsonl, type: tokens}]
                eval_datasets: [{path: eval.jsonl, type: tokens}]
                per_device_train_batch_size: 2
                learning_rate: 5.0e-3
                max_steps: 6
                logging_steps: 2
                max_length: 64
                """);
        return run;
    }

    /**
     * Replaces the model by one that has a tokenizer (512 pieces) and no weights, for random
     * initialisation; each row of the data is then a text.
     */
    RunFolder withTextModel() throws IOException, URISyntaxException {
        Path tokenizer =
                Path.of(
                        RunFolder.class
                                .getResource("/jlora/trainer/data/stories260k/tokenizer.json")
                                .toURI());
        delete(model());
        copy(tokenizer.getParent(), model());
        write(
                "model/config.json",
                """
                {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32,
                 "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
                 "num_hidden_layers": 2, "vocab_size": 512, "max_position_embeddings": 64,
                 "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
                 "initializer_range": 0.2, "bos_token_id": 1, "eos_token_id": 2}
                """);
        String row = "{\"prompt\": \"The cat\", \"completion\": \" sat on the red mat.\"}\n";
        write("train.jsonl", row.repeat(8));
        write("eval.jsonl", row.repeat(2));
        String types =
                Files.readString(config()).replace("type: tokens", "type: prompt_completion");
        write("run.yaml", "random_init: true\n" + types);
        return this;
    }

    /** Gives the model the sizes of a large Llama; there are no weights of it. */
    RunFolder withGeometry(int hidden, int intermediate, int layers) throws IOException {
        write(
                "model/config.json",
                """
                {"model_type": "llama", "hidden_size": %d, "intermediate_size": %d, "num_attention_heads": %d,
                 "num_key_value_heads": 8, "head_dim": 128, "num_hidden_layers": %d, "vocab_size": 128256,
                 "max_position_embeddings": 8192}
                """
                        .formatted(hidden, intermediate, hidden / 128, layers));
        return this;
    }

    Path path(String name) {
        return folder.resolve(name);
    }

    Path model() {
        return folder.resolve("model");
    }

    Path config() {
        return folder.resolve("run.yaml");
    }

    /** The configuration's output_dir. */
    Path out() {
        return folder.resolve("out");
    }

    Path write(String name, String content) throws IOException {
        return Files.writeString(folder.resolve(name), content);
    }

    /** Runs a command with the configuration and these words. */
    CommandLineRun run(String command, Object... words) {
        return CommandLineRun.of(
                Stream.concat(Stream.of(command, "-c", config()), Stream.of(words)).toArray());
    }

    /** Runs a command that has to succeed, and returns what it printed. */
    String succeeds(String command, Object... words) {
        return CommandLineRun.succeeds(
                Stream.concat(Stream.of(command, "-c", config()), Stream.of(words)).toArray());
    }

    static void copy(Path from, Path to) throws IOException {
        Files.createDirectories(to);
        try (Stream<Path> files = Files.list(from)) {
            for (Path file : files.toList()) {
                Files.copy(file, to.resolve(file.getFileName()));
            }
        }
    }

    private static void delete(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            for (Path file : files.toList()) {
                Files.delete(file);
            }
        }
        Files.delete(folder);
    }
}
