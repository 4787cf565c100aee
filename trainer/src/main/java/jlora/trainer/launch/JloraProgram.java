package jlora.trainer.launch;

import jlora.runtime.JloraException;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** The program {@code jlora} of this installation, as a command line begins with it. */
final class JloraProgram {
    private JloraProgram() {}

    /**
     * Path and {@code train}.
     *
     * @param given another program instead
     */
    static List<String> command(Optional<Path> given) {
        return List.of(find(given).toString(), "train");
    }

    private static Path find(Optional<Path> given) {
        if (given.isPresent()) {
            Path file = given.get().toAbsolutePath().normalize();
            if (!Files.isRegularFile(file) || !Files.isExecutable(file)) {
                throw JloraException.usage(
                        "--jlora " + file + " is not a program; name the jlora to run.");
            }
            return file;
        }
        return Optional.ofNullable(System.getProperty("jlora.home")).stream()
                .map(Path::of)
                .flatMap(home -> Stream.of(home.resolve("bin/jlora"), home.resolve("jlora")))
                .filter(file -> Files.isRegularFile(file) && Files.isExecutable(file))
                .findFirst()
                .orElseThrow(
                        () ->
                                JloraException.usage(
                                        "the jlora program of this installation was not found; name"
                                                + " it with --jlora FILE."));
    }
}
