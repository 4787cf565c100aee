package jlora.trainer.launch;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A real Slurm of one node, which {@code src/test/slurm/one-node} starts and stops. */
final class OneNodeSlurm {
    private static final Path SCRIPT = Path.of("src/test/slurm/one-node").toAbsolutePath();
    private static final int CANNOT_RUN_HERE = 3;
    private static final long LIMIT_SECONDS = 600;

    private final Path folder;
    private final Map<String, String> environment;

    private OneNodeSlurm(Path folder, String configuration) {
        this.folder = folder;
        this.environment = Map.of("SLURM_CONF", configuration);
    }

    /**
     * Starts it.
     *
     * @param whyNot hears why it cannot run on this machine
     */
    static Optional<OneNodeSlurm> start(Path folder, StringBuilder whyNot)
            throws IOException, InterruptedException {
        Ended ended = run(Map.of(), List.of(SCRIPT.toString(), "start", folder.toString()));
        if (ended.code() == CANNOT_RUN_HERE) {
            whyNot.append(ended.output().strip());
            return Optional.empty();
        }
        if (ended.code() != 0) {
            throw new AssertionError("Slurm did not start: " + ended.output());
        }
        return Optional.of(new OneNodeSlurm(folder, ended.output().strip()));
    }

    private record Ended(int code, String output) {}

    private static Ended run(Map<String, String> environment, List<String> command)
            throws IOException, InterruptedException {
        // A file, since daemons would hold the other end of a pipe.
        Path output = Files.createTempFile("slurm", ".out");
        try {
            ProcessBuilder builder =
                    new ProcessBuilder(command)
                            .redirectErrorStream(true)
                            .redirectOutput(output.toFile());
            builder.environment().putAll(environment);
            int code = builder.start().waitFor();
            return new Ended(code, Files.readString(output, StandardCharsets.UTF_8));
        } finally {
            Files.delete(output);
        }
    }

    /** What {@code jlora launch slurm} needs in its environment. */
    Map<String, String> environment() {
        return environment;
    }

    String call(String... command) throws IOException, InterruptedException {
        Ended ended = run(environment, List.of(command));
        if (ended.code() != 0) {
            throw new AssertionError(String.join(" ", command) + ": " + ended.output());
        }
        return ended.output();
    }

    /** A field of a job, such as JobState. */
    String job(String id, String field) throws IOException, InterruptedException {
        String all = call("scontrol", "show", "job", id);
        Matcher m = Pattern.compile("\\b" + field + "=(\\S+)").matcher(all);
        if (!m.find()) {
            throw new AssertionError("no " + field + " in " + all);
        }
        return m.group(1);
    }

    /** Waits until a job has ended for good, and returns its state. */
    String await(String id) throws IOException, InterruptedException {
        List<String> seen = new ArrayList<>();
        for (int i = 0; i < LIMIT_SECONDS * 2; i++) {
            String state = job(id, "JobState");
            if (List.of("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL").contains(state)
                    && !job(id, "Reason").equals("BeginTime")) {
                return state;
            }
            if (seen.isEmpty() || !seen.getLast().equals(state)) {
                seen.add(state);
            }
            Thread.sleep(500);
        }
        throw new AssertionError("job " + id + " does not end: " + seen);
    }

    void stop() throws IOException, InterruptedException {
        call(SCRIPT.toString(), "stop", folder.toString());
    }
}
