package jlora.trainer.launch;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * {@code output_dir/launch}: the configuration as the job reads it, what was submitted, its log.
 */
final class LaunchFolder {
    private final Path path;

    LaunchFolder(Path outputDir) {
        this.path = outputDir.toAbsolutePath().normalize().resolve("launch");
    }

    Path file(String name) {
        return path.resolve(name);
    }

    Path write(String name, String content) {
        Path file = file(name);
        try {
            Files.createDirectories(path);
            return Files.writeString(file, content, StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.CHECKPOINT_IO,
                    file
                            + " could not be written ("
                            + e.getMessage()
                            + "); choose an output_dir that can be.",
                    e);
        }
    }
}
