package jlora.trainer.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.AtomicFile;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;

class CheckpointFolderTest {
    @TempDir Path out;

    private CheckpointFolder write(long step) {
        return CheckpointFolder.write(
                out,
                step,
                folder -> {
                    byte[] tensors = new byte[5000];
                    new Random(step).nextBytes(tensors);
                    AtomicFile.write(folder.resolve("optimizer.safetensors"), tensors);
                    AtomicFile.write(folder.resolve("empty"), new byte[0]);
                    AtomicFile.write(
                            folder.resolve("state.json"),
                            "{\"step\": 1}".getBytes(StandardCharsets.UTF_8));
                });
    }

    private static List<Path> files(Path folder) {
        try (Stream<Path> files = Files.list(folder)) {
            return files.sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static List<Long> steps(List<CheckpointFolder> checkpoints) {
        return checkpoints.stream().map(CheckpointFolder::step).toList();
    }

    @Test
    void everyOneOfAThousandFlippedBitsIsNoticed() throws IOException {
        CheckpointFolder checkpoint = write(7);
        checkpoint.verify();
        List<Path> files =
                files(checkpoint.path()).stream().filter(f -> f.toFile().length() > 0).toList();
        assertEquals(3, files.size());
        Random random = new Random(1);
        for (int i = 0; i < 1000; i++) {
            Path file = files.get(i % files.size());
            byte[] whole = Files.readAllBytes(file);
            byte[] flipped = whole.clone();
            int bit = random.nextInt(8 * flipped.length);
            flipped[bit / 8] ^= (byte) (1 << bit % 8);
            Files.write(file, flipped);
            JloraException e =
                    assertThrows(JloraException.class, checkpoint::verify, file + " bit " + bit);
            assertEquals(ExitCode.CORRUPT_INPUT, e.exitCode());
            Files.write(file, whole);
        }
        checkpoint.verify();
    }

    @Test
    void missingAndCutFilesAreNamed() throws IOException {
        CheckpointFolder checkpoint = write(7);
        for (Path file : files(checkpoint.path())) {
            byte[] whole = Files.readAllBytes(file);
            Files.delete(file);
            String missing = assertThrows(JloraException.class, checkpoint::verify).getMessage();
            assertTrue(missing.contains(file.getFileName().toString()), missing);
            if (whole.length > 0) {
                Files.write(file, Arrays.copyOf(whole, whole.length - 1));
                String cut = assertThrows(JloraException.class, checkpoint::verify).getMessage();
                assertTrue(cut.contains(file.getFileName().toString()), cut);
            }
            Files.write(file, whole);
        }
    }

    @Test
    void failedWriteLeavesNothingAndTheOneBeforeStays() {
        CheckpointFolder before = write(1);
        JloraException full = JloraException.corrupt("full");
        assertThrows(
                JloraException.class,
                () ->
                        CheckpointFolder.write(
                                out,
                                2,
                                folder -> {
                                    AtomicFile.write(folder.resolve("a"), new byte[10]);
                                    throw full;
                                }));
        assertEquals(List.of(before.path()), files(out));
        before.verify();
    }

    @Test
    void checkpointOfTheSameStepIsReplaced() throws IOException {
        write(3);
        Files.writeString(write(3).path().resolve("state.json"), "damaged");
        write(3).verify();
        assertEquals(List.of(out.resolve("checkpoint-3")), files(out));
    }

    @Test
    void listsByStepAndIgnoresWhatIsNone() throws IOException {
        for (long step : new long[] {500, 60, 1000}) {
            write(step);
        }
        Files.createDirectories(out.resolve("checkpoint-x"));
        Files.createDirectories(out.resolve(".checkpoint-9.tmp"));
        Files.writeString(out.resolve("checkpoint-1"), "a file");
        assertEquals(List.of(60L, 500L, 1000L), steps(CheckpointFolder.in(out)));
        assertEquals(List.of(), CheckpointFolder.in(out.resolve("nowhere")));
    }

    @Test
    void whatAKilledProcessLeftIsRemovedAndNothingElse() throws IOException {
        write(1);
        Path unfinished = out.resolve(".checkpoint-2.0a1b2c3d-0000-0000-0000-00000000abcd.tmp");
        Path old = out.resolve(".checkpoint-3.0a1b2c3d-0000-0000-0000-00000000abcd.old");
        for (Path folder : List.of(unfinished, old)) {
            Files.createDirectories(folder.resolve("sub"));
            Files.writeString(folder.resolve("sub/file"), "x");
        }
        Path other = Files.createDirectories(out.resolve(".checkpoint-notes.tmp"));
        CheckpointFolder.removeUnfinished(out);
        assertEquals(List.of(other, out.resolve("checkpoint-1")), files(out));
    }

    @ParameterizedTest
    @CsvSource({
        "1, 0, 5",
        "2, 0, 4 5",
        "9, 0, 1 2 3 4 5",
        "1, 2, 2 5",
        "3, 2, 2 4 5",
        "2, 5, 4 5",
        "1, 9, 5"
    })
    void keepsTheNewestAndTheBest(int keep, long best, String left) {
        for (int step = 1; step <= 5; step++) {
            write(step);
        }
        CheckpointFolder.prune(out, keep, best);
        assertEquals(
                Stream.of(left.split(" ")).map(Long::valueOf).toList(),
                steps(CheckpointFolder.in(out)));
    }
}
