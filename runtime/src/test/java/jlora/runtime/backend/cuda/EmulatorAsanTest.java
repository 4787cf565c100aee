package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * No kernel touches memory that is not its own: the op cases in a process of their own, with the
 * flavour of the emulator that the address sanitizer watches. It takes a minute, and a build of its
 * own: hence the tag.
 */
@Tag("cluster")
final class EmulatorAsanTest {
    private static final int TAIL = 6000;

    private static Path folder;
    private static Path asan;

    @BeforeAll
    static void find() {
        folder = Emulator.folder("emulator-asan");
        Assumptions.assumeTrue(
                Files.exists(folder.resolve("libcuda.so.1")),
                () ->
                        "no emulator with address sanitizer (mvn verify -Pclusters builds it): "
                                + Emulator.built(folder));
        asan = Path.of(Emulator.property(folder, "asan", "libasan.so"));
        Assumptions.assumeTrue(Files.exists(asan), () -> "no address sanitizer: " + asan);
        Assumptions.assumeFalse(
                stale(), "the emulator with address sanitizer is older than the kernels");
    }

    @ParameterizedTest
    @ValueSource(strings = {"global", "freed", "shared"})
    void findsBadAccesses(String what) throws IOException, InterruptedException {
        Run run = run(List.of(folder.resolve("selftest").toString(), what));
        assertTrue(run.output.contains("ERROR: AddressSanitizer"), run.output);
    }

    @Test
    void findsNothingElse() throws IOException, InterruptedException {
        Run run = run(List.of(folder.resolve("selftest").toString()));
        assertEquals(0, run.status, run::end);
    }

    @Test
    void opCasesStayWithinTheirMemory() throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(ProcessHandle.current().info().command().orElseThrow());
        command.addAll(
                List.of(
                        "--add-modules=jdk.incubator.vector",
                        "--enable-native-access=ALL-UNNAMED",
                        "-Xmx1g",
                        "-Djlora.ops=" + System.getProperty("jlora.ops", ""),
                        "-cp",
                        System.getProperty(
                                "surefire.test.class.path", System.getProperty("java.class.path")),
                        EmulatedOpCases.class.getName(),
                        folder.toString()));
        Run run = run(command);
        assertEquals(0, run.status, run::end);
    }

    private record Run(int status, String output) {
        /** The report with the name of the case before it, or the last words. */
        String end() {
            int report = output.indexOf("ERROR: AddressSanitizer");
            int from = Math.max(0, report >= 0 ? report - 300 : output.length() - TAIL);
            return output.substring(from, Math.min(output.length(), from + TAIL));
        }
    }

    private static Run run(List<String> command) throws IOException, InterruptedException {
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().put("LD_PRELOAD", asan.toString());
        // The Java machine lives with these signals, and frees little at its end.
        builder.environment()
                .put(
                        "ASAN_OPTIONS",
                        "detect_leaks=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0"
                                + ":handle_sigill=0:use_sigaltstack=0");
        Process process = builder.start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Run(process.waitFor(), output);
    }

    private static boolean stale() {
        Path module = folder.getParent().getParent();
        try (Stream<Path> sources = Files.walk(module.resolve("src"))) {
            FileTime built = Files.getLastModifiedTime(folder.resolve("build.properties"));
            return sources.filter(Files::isRegularFile)
                    .anyMatch(source -> modified(source).compareTo(built) > 0);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static FileTime modified(Path file) {
        try {
            return Files.getLastModifiedTime(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
