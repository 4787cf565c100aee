package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** The program in a process of its own, with what it prints in a file. */
final class JloraProcess implements AutoCloseable {
    private final Process process;
    private final Path output;

    private JloraProcess(Process process, Path output) {
        this.process = process;
        this.output = output;
    }

    /** Starts the program; the class path is that of the tests. */
    static JloraProcess start(Map<String, String> environment, Object... arguments)
            throws IOException {
        return start(environment, Main.class, arguments);
    }

    /** Starts any main class. */
    static JloraProcess start(Map<String, String> environment, Class<?> main, Object... arguments)
            throws IOException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(
                List.of(
                        "--add-modules=jdk.incubator.vector",
                        "--enable-native-access=ALL-UNNAMED",
                        "-XX:+UseSerialGC",
                        "-cp",
                        System.getProperty("java.class.path"),
                        main.getName()));
        Stream.of(arguments).map(Object::toString).forEach(command::add);
        Path output = Files.createTempFile("jlora", ".out");
        ProcessBuilder builder =
                new ProcessBuilder(command)
                        .redirectErrorStream(true)
                        .redirectOutput(output.toFile());
        builder.environment().putAll(environment);
        return new JloraProcess(builder.start(), output);
    }

    boolean isAlive() {
        return process.isAlive();
    }

    /** All that was printed so far. */
    String output() throws IOException {
        return Files.readString(output, StandardCharsets.UTF_8);
    }

    /** Waits until it has printed this. */
    void awaitOutput(String part) throws IOException, InterruptedException {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (!output().contains(part)) {
            assertTrue(
                    process.isAlive() && System.nanoTime() < end,
                    () -> "'" + part + "' was never printed:\n" + said());
            Thread.sleep(1);
        }
    }

    private String said() {
        try {
            return output();
        } catch (IOException e) {
            return e.toString();
        }
    }

    /** Sends a signal such as TERM. */
    void signal(String name) throws IOException, InterruptedException {
        Process kill = new ProcessBuilder("kill", "-" + name, Long.toString(process.pid())).start();
        assertEquals(0, kill.waitFor());
    }

    /** Ends it as the kernel would, and waits. */
    void kill() throws InterruptedException {
        process.destroyForcibly();
        process.waitFor();
    }

    /** Waits for its end, and returns its exit code; 128 + the signal where one ended it. */
    int exitCode(Duration atMost) throws InterruptedException {
        assertTrue(
                process.waitFor(atMost.toMillis(), TimeUnit.MILLISECONDS),
                () -> "still running:\n" + said());
        return process.exitValue();
    }

    @Override
    public void close() throws IOException {
        process.destroyForcibly();
        Files.deleteIfExists(output);
    }
}
