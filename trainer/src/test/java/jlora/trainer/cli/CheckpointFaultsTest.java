package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import jlora.runtime.ExitCode;
import jlora.trainer.checkpoint.CheckpointFolder;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * A disk that is full or fails, at each call of a save in turn: the run ends with exit code 8, the
 * checkpoint before still loads, and there is never one that is not whole. The calls are those of
 * the C library, failed by a library that is loaded before it.
 */
@Tag("cluster")
class CheckpointFaultsTest {
    private static final Path SOURCE = Path.of("src/test/native/faults.c").toAbsolutePath();

    @TempDir Path folder;

    @Test
    void eachCallOfASaveMayFail() throws IOException, InterruptedException {
        Path library = folder.resolve("faults.so");
        assumeTrue(compiled(library), "there is no C compiler (cc) to build the failing disk with");
        RunFolder.create(folder);
        try (JloraProcess process =
                JloraProcess.start(
                        Map.of("LD_PRELOAD", library.toString()), Faulty.class, folder, library)) {
            int code = process.exitCode(Duration.ofMinutes(10));
            assertEquals(0, code, process.output());
            String last = process.output().lines().reduce((_, line) -> line).orElse("");
            assertTrue(last.matches("\\d+ calls failed"), process.output());
            assertTrue(Integer.parseInt(last.split(" ")[0]) > 60, last);
            System.out.println(getClass().getSimpleName() + ": " + last);
        }
    }

    private static boolean compiled(Path library) throws InterruptedException {
        try {
            Process cc =
                    new ProcessBuilder(
                                    "cc",
                                    "-O1",
                                    "-shared",
                                    "-fPIC",
                                    SOURCE.toString(),
                                    "-o",
                                    library.toString(),
                                    "-ldl")
                            .inheritIO()
                            .start();
            assertEquals(0, cc.waitFor(), "cc failed");
            return true;
        } catch (IOException _) {
            return false;
        }
    }

    /** Runs in the process whose disk fails. */
    @SuppressWarnings("restricted")
    static final class Faulty {
        private static final int FAIL = 1;
        private static final int SHORT_THEN_FULL = 2;
        private static final Object[] WORDS = {
            "train", "-c", "", "--cpu_threads", 1, "--max_steps", 8, "--save_steps", 4
        };

        public static void main(String[] arguments) throws Throwable {
            Path folder = Path.of(arguments[0]);
            WORDS[2] = folder.resolve("run.yaml");
            SymbolLookup faults = SymbolLookup.libraryLookup(Path.of(arguments[1]), Arena.global());
            MethodHandle arm =
                    function(
                            faults, "faults_arm", null, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT);
            MethodHandle fired = function(faults, "faults_fired", ValueLayout.JAVA_INT);
            Path out = folder.resolve("out");
            CommandLineRun.succeeds(WORDS);
            CheckpointFolder first = CheckpointFolder.in(out).getFirst();
            RunFolder.copy(first.path(), folder.resolve("kept"));
            int failed = 0;
            for (int mode : new int[] {FAIL, SHORT_THEN_FULL}) {
                for (int call = 1; ; call++) {
                    restart(out, folder.resolve("kept"), first.step());
                    arm.invoke(call, mode);
                    CommandLineRun run = CommandLineRun.of(words());
                    boolean happened = (int) fired.invoke() != 0;
                    arm.invoke(0, 0);
                    if (!happened) {
                        assertEquals(0, run.code(), run.err());
                        break;
                    }
                    failed++;
                    check(out, first.step(), run, "call " + call + " in mode " + mode);
                }
            }
            System.out.println(failed + " calls failed");
        }

        private static Object[] words() {
            return Stream.concat(Stream.of(WORDS), Stream.of("--resume_from_checkpoint", "auto"))
                    .toArray();
        }

        private static MethodHandle function(
                SymbolLookup faults, String name, ValueLayout result, ValueLayout... arguments) {
            return Linker.nativeLinker()
                    .downcallHandle(
                            faults.findOrThrow(name),
                            result == null
                                    ? FunctionDescriptor.ofVoid(arguments)
                                    : FunctionDescriptor.of(result, arguments));
        }

        private static void restart(Path out, Path kept, long step) throws IOException {
            CheckpointFolder.in(out).forEach(CheckpointFolder::delete);
            Files.deleteIfExists(out.resolve("adapter_model.safetensors"));
            RunFolder.copy(kept, out.resolve("checkpoint-" + step));
        }

        /** A folder whose flush fails is no failure: its files are whole, and named. */
        private static void check(Path out, long before, CommandLineRun run, String when)
                throws IOException {
            List<CheckpointFolder> all = CheckpointFolder.in(out);
            all.forEach(CheckpointFolder::verify);
            assertEquals(before, all.getFirst().step(), when);
            if (run.code() == 0) {
                assertEquals(2, all.size(), when);
                return;
            }
            assertEquals(ExitCode.CHECKPOINT_IO.code(), run.code(), when + ": " + run.err());
            assertEquals(1, run.err().lines().count(), when + ": " + run.err());
            assertEquals(1, all.size(), when);
            try (var files = Files.list(out)) {
                assertEquals(
                        List.of(),
                        files.filter(f -> f.getFileName().toString().startsWith(".")).toList(),
                        when);
            }
        }
    }
}
