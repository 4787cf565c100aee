package jlora.trainer.launch;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.io.Json;
import jlora.trainer.metrics.LastStep;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Why a process ended, as one line of JSON for its scheduler: {@code exit_code}, {@code meaning},
 * {@code step} if there was one, {@code message} if there is a sentence. Kubernetes shows it as the
 * container's termination message. The first who knows why writes; what comes later is not heard.
 */
public final class TerminationLog {
    /** Names the file; empty means none. */
    static final String VARIABLE = "JLORA_TERMINATION_LOG";

    /** What Kubernetes keeps of it. */
    static final int MAX_BYTES = 4096;

    private static final Path KUBERNETES = Path.of("/dev/termination-log");
    private static final AtomicBoolean WRITTEN = new AtomicBoolean();

    private TerminationLog() {}

    /**
     * Writes the line if anybody reads one.
     *
     * @param sentence what the user was told last
     * @return the same exit code, whether or not the line could be written
     */
    public static int write(int code, Optional<String> sentence) {
        target(System.getenv())
                .filter(_ -> WRITTEN.compareAndSet(false, true))
                .ifPresent(file -> put(file, line(code, LastStep.ofThisProcess(), sentence)));
        return code;
    }

    /** Passes on what another process wrote, one that this process started. */
    static void adopt(Path from) {
        if (!Files.isRegularFile(from)) {
            return;
        }
        target(System.getenv())
                .filter(_ -> WRITTEN.compareAndSet(false, true))
                .ifPresent(
                        file -> {
                            try {
                                put(file, Files.readAllBytes(from));
                            } catch (IOException e) {
                                complain(from, e);
                            }
                        });
    }

    static Optional<Path> target(Map<String, String> environment) {
        String named = environment.get(VARIABLE);
        if (named != null) {
            return named.isEmpty() ? Optional.empty() : Optional.of(Path.of(named));
        }
        boolean pod = environment.containsKey("KUBERNETES_SERVICE_HOST");
        return pod && Files.exists(KUBERNETES) ? Optional.of(KUBERNETES) : Optional.empty();
    }

    static byte[] line(int code, Optional<Long> step, Optional<String> sentence) {
        String message = sentence.orElse("");
        while (true) {
            ObjectNode record = Json.object();
            record.put("exit_code", code);
            record.put("meaning", meaning(code));
            step.ifPresent(s -> record.put("step", s));
            if (!message.isEmpty()) {
                record.put("message", message);
            }
            byte[] bytes = (record + "\n").getBytes(StandardCharsets.UTF_8);
            if (bytes.length <= MAX_BYTES) {
                return bytes;
            }
            // Escapes make more bytes of some characters: cut until it fits.
            int keep = message.length() * 7 / 8;
            boolean splits = keep > 0 && Character.isHighSurrogate(message.charAt(keep - 1));
            message = message.substring(0, splits ? keep - 1 : keep);
        }
    }

    private static String meaning(int code) {
        return Arrays.stream(ExitCode.values())
                .filter(known -> known.code() == code)
                .map(ExitCode::meaning)
                .findFirst()
                .orElse(code > 128 ? "killed by signal " + (code - 128) : "unknown");
    }

    private static void put(Path file, byte[] line) {
        try {
            Files.write(file, line);
        } catch (IOException e) {
            complain(file, e);
        }
    }

    private static void complain(Path file, IOException e) {
        System.err.println(
                "jlora: the end of this process could not be recorded in "
                        + file
                        + " ("
                        + e.getMessage()
                        + "); its exit code says the same");
    }
}
