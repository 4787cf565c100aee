package jlora.trainer.launch;

import jlora.trainer.cli.CommandLineRun;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** jlora in a process of its own, with the classes of this build. */
record JloraProcess(Process process, Path out, Path err) {
    private static final long LIMIT_SECONDS = 60;

    /** The words that start it. */
    static List<String> command() {
        return List.of(
                Path.of(System.getProperty("java.home"), "bin/java").toString(),
                "--add-modules=jdk.incubator.vector",
                "--enable-native-access=ALL-UNNAMED",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                "jlora.trainer.cli.Main");
    }

    static JloraProcess start(Map<String, String> environment, String... words) throws IOException {
        List<String> command = new ArrayList<>(command());
        command.addAll(List.of(words));
        Path out = Files.createTempFile("jlora", ".out");
        Path err = Files.createTempFile("jlora", ".err");
        ProcessBuilder builder =
                new ProcessBuilder(command)
                        .redirectOutput(out.toFile())
                        .redirectError(err.toFile());
        builder.environment().putAll(environment);
        return new JloraProcess(builder.start(), out, err);
    }

    CommandLineRun await() throws IOException, InterruptedException {
        try {
            if (!process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
                throw new AssertionError("does not end: " + Files.readString(err));
            }
            return new CommandLineRun(
                    process.exitValue(), Files.readString(out), Files.readString(err));
        } finally {
            process.destroyForcibly();
            Files.deleteIfExists(out);
            Files.deleteIfExists(err);
        }
    }
}
