package jlora.trainer.launch;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** A program that the system has or has not. */
final class Tool {
    private final String name;
    private final Path path;

    private Tool(String name, Path path) {
        this.name = name;
        this.path = path;
    }

    /**
     * The program of this name on the PATH.
     *
     * @param fix what to do where it is missing, as the end of a sentence
     */
    static Tool find(String name, String fix) {
        return onPath(name)
                .map(path -> new Tool(name, path))
                .orElseThrow(
                        () ->
                                JloraException.usage(
                                        name
                                                + " is not on the PATH of this machine; "
                                                + fix
                                                + "."));
    }

    static Optional<Path> onPath(String name) {
        for (String folder :
                Optional.ofNullable(System.getenv("PATH")).orElse("").split(File.pathSeparator)) {
            Path file = Path.of(folder.isEmpty() ? "." : folder, name);
            if (Files.isRegularFile(file) && Files.isExecutable(file)) {
                return Optional.of(file);
            }
        }
        return Optional.empty();
    }

    Path path() {
        return path;
    }

    /**
     * Runs it to its end and hands its words to people as they come; its failure is one of ours.
     *
     * @param input what it reads on stdin, a few kilobytes at most
     */
    void run(Console console, String input, String... arguments) {
        List<String> command = new ArrayList<>(List.of(path.toString()));
        command.addAll(List.of(arguments));
        StringBuilder said = new StringBuilder();
        try {
            Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
            try (OutputStream stdin = process.getOutputStream()) {
                stdin.write(input.getBytes(StandardCharsets.UTF_8));
            } catch (IOException e) {
                // It ended without reading: its exit code and its words say why.
            }
            try (BufferedReader reader = process.inputReader(StandardCharsets.UTF_8)) {
                for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                    console.note(line);
                    said.append(line).append('\n');
                }
            }
            int code = process.waitFor();
            if (code != 0) {
                throw JloraException.usage(
                        name
                                + " refused the job (exit code "
                                + code
                                + "): "
                                + said.toString().strip()
                                + "; correct the options and launch again.");
            }
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.USAGE, path + " could not be run (" + e.getMessage() + ").", e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new JloraException(
                    ExitCode.INTERRUPTED,
                    name + " was interrupted, the job may be submitted or not.");
        }
    }
}
