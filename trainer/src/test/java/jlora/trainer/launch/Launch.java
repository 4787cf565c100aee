package jlora.trainer.launch;

import jlora.trainer.cli.CommandLineRun;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.stream.Stream;

/** {@code jlora launch} on a tiny model, as a user would call it. */
final class Launch {
    private final Path folder;

    private Launch(Path folder) {
        this.folder = folder;
    }

    /** A model of 64 hidden units with a configuration beside it; no weights. */
    static Launch in(Path folder) throws IOException {
        Launch launch = new Launch(folder);
        Files.createDirectories(folder.resolve("model"));
        Files.writeString(
                folder.resolve("model/config.json"),
                """
                {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
                 "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
                 "num_hidden_layers": 2, "vocab_size": 512, "max_position_embeddings": 64,
                 "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true}
                """);
        Files.writeString(folder.resolve("rows.jsonl"), "{\"input_ids\": [1, 2, 3]}\n");
        Files.writeString(
                folder.resolve("run.yaml"),
                """
                model_name_or_path: model
                random_init: true
                output_dir: out
                datasets: [{path: rows.jsonl, type: tokens}]
                max_length: 32
                max_steps: 5
                """);
        return launch;
    }

    Path path(String name) {
        return folder.resolve(name);
    }

    CommandLineRun run(String where, Object... words) {
        return CommandLineRun.of(
                Stream.concat(Stream.of("launch", where, "-c", path("run.yaml")), Stream.of(words))
                        .toArray());
    }

    /** The manifest of a job whose files lie on a volume at /data. */
    CommandLineRun kubernetes(Object... words) {
        return run(
                "kubernetes",
                Stream.concat(
                                Stream.of(
                                        "--image",
                                        "jlora:1",
                                        "--volume",
                                        "shared:/data",
                                        "--plan-model",
                                        path("model"),
                                        "model_name_or_path=/data/model",
                                        "datasets=[{path: /data/rows.jsonl, type: tokens}]",
                                        "output_dir=/data/runs/first",
                                        "--dry-run"),
                                Stream.of(words))
                        .toArray());
    }

    /** A program of the test. */
    static Path program(Path file, String script) throws IOException {
        Files.createDirectories(file.getParent());
        Files.writeString(file, "#!/bin/bash\n" + script);
        return Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    }
}
