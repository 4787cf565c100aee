package jlora.runtime.backend.cpu.mpi;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * What a program left behind that mpirun started several times, with this JVM and its class path.
 *
 * @param code of mpirun: that of the first rank that failed
 * @param output of all ranks, both streams
 */
public record MpiRun(int code, String output, double seconds) {
    private static final long LIMIT_SECONDS = 240;

    /** Runs a main class on so many ranks of this machine. */
    public static MpiRun of(int ranks, Class<?> main, List<String> arguments)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(launcher(ranks));
        command.addAll(java(main));
        command.addAll(arguments);
        return of(command);
    }

    /** The words before each rank's command. */
    public static List<String> launcher(int ranks) {
        return List.of(
                "mpirun",
                "--allow-run-as-root",
                "--oversubscribe",
                "--bind-to",
                "none",
                "-n",
                Integer.toString(ranks));
    }

    /** The words that start a main class in a JVM like this one. */
    public static List<String> java(Class<?> main) {
        return List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "--add-modules=jdk.incubator.vector",
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-cp",
                System.getProperty("java.class.path"),
                main.getName());
    }

    /** Runs a whole command line; one that does not end is killed, and fails. */
    public static MpiRun of(List<String> command) throws IOException, InterruptedException {
        Path output = Files.createTempFile("mpirun", ".txt");
        long start = System.nanoTime();
        Process process =
                new ProcessBuilder(command)
                        .redirectErrorStream(true)
                        .redirectOutput(output.toFile())
                        .start();
        boolean ended = process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS);
        if (!ended) {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly().waitFor();
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        String text = Files.readString(output, StandardCharsets.UTF_8);
        Files.delete(output);
        if (!ended) {
            throw new AssertionError("still running after " + LIMIT_SECONDS + " s:\n" + text);
        }
        return new MpiRun(process.exitValue(), text, seconds);
    }
}
