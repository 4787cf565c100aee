package jlora.trainer.job;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * The folder of a run's results: checked before anything costly starts, made when there is
 * something to write.
 */
public final class OutputFolder {
    /** What a run writes, and by which an earlier one is recognised. */
    private static final List<String> OWN =
            List.of(
                    "adapter_config.json",
                    "adapter_model.safetensors",
                    "model.safetensors",
                    "metrics.jsonl",
                    "trainer_state.json",
                    "config.yaml",
                    "report.html");

    private final Path path;
    private final boolean overwrite;

    private OutputFolder(Path path, boolean overwrite) {
        this.path = path;
        this.overwrite = overwrite;
    }

    /**
     * Checks, and changes nothing: the folder can be written, and holds no run that would be lost.
     */
    public static OutputFolder check(Path path, boolean overwrite) {
        Path existing = path.toAbsolutePath();
        while (existing != null && !Files.exists(existing)) {
            existing = existing.getParent();
        }
        if (existing == null || !Files.isDirectory(existing) || !Files.isWritable(existing)) {
            throw new JloraException(
                    ExitCode.USAGE,
                    "output_dir "
                            + path
                            + " cannot be written ("
                            + existing
                            + (existing != null && Files.isDirectory(existing)
                                    ? " is read-only"
                                    : " is not a folder")
                            + "); choose another folder.");
        }
        if (!overwrite) {
            for (String name : OWN) {
                if (Files.exists(path.resolve(name))) {
                    throw JloraException.usage(
                            "output_dir "
                                    + path
                                    + " already holds a run ("
                                    + name
                                    + "); choose another folder, or pass --overwrite to replace"
                                    + " it.");
                }
            }
        }
        return new OutputFolder(path, overwrite);
    }

    public Path path() {
        return path;
    }

    /** Makes the folder; with overwrite, removes what an earlier run wrote, and nothing else. */
    public void create() {
        try {
            Files.createDirectories(path);
            if (overwrite) {
                for (String name : OWN) {
                    Files.deleteIfExists(path.resolve(name));
                }
                try (Stream<Path> files = Files.list(path)) {
                    // Shards of an earlier full model would be read beside the new one.
                    for (Path shard :
                            files.filter(
                                            f ->
                                                    f.getFileName()
                                                            .toString()
                                                            .matches("model-.*\\.safetensors"))
                                    .toList()) {
                        Files.delete(shard);
                    }
                }
            }
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.CHECKPOINT_IO,
                    "output_dir "
                            + path
                            + " could not be made ("
                            + e.getMessage()
                            + "); choose another folder.",
                    e);
        }
    }
}
