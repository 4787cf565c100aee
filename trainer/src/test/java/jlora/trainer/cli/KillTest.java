package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.trainer.checkpoint.CheckpointFolder;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * kill -9 at a hundred random instants, a third of them while a checkpoint is being written: the
 * same command, started again and again, ends with the same bits as a run that nobody disturbed.
 */
@Tag("cluster")
class KillTest {
    private static final int KILLS = 100;
    private static final int IN_A_SAVE = 34;

    @TempDir Path folder;
    private RunFolder run;

    private Object[] words(Path out) {
        return new Object[] {
            "train",
            "-c",
            run.config(),
            "--output_dir",
            out,
            "--cpu_threads",
            2,
            "--lora_target_modules",
            "all-linear",
            "--lora_dropout",
            0.1,
            "--max_steps",
            900,
            "--logging_steps",
            7,
            "--eval_steps",
            150,
            "--save_steps",
            15,
            "--save_total_limit",
            3,
            "--resume_from_checkpoint",
            "auto"
        };
    }

    @Test
    void everyRestartGoesOnToTheSameBits() throws IOException, InterruptedException {
        run = RunFolder.create(folder);
        Path whole = folder.resolve("whole");
        CommandLineRun.succeeds(words(whole));
        Random random = new Random(9);
        int kills = 0;
        int inSave = 0;
        int finished = 0;
        Path out = folder.resolve("out0");
        boolean begun = false;
        while (kills < KILLS || inSave < IN_A_SAVE || begun) {
            boolean enough = kills >= KILLS && inSave >= IN_A_SAVE;
            Set<Path> left = unfinished(out);
            try (JloraProcess process = JloraProcess.start(Map.of(), words(out))) {
                if (!enough && awaitInstant(process, out, left, kills % 3, random)) {
                    process.kill();
                    inSave += newer(out, left) ? 1 : 0;
                    kills++;
                    begun = true;
                    CheckpointFolder.in(out).forEach(CheckpointFolder::verify);
                    continue;
                }
                assertEquals(0, process.exitCode(Duration.ofMinutes(2)), process.output());
            }
            ResumeTest.assertSameResults(whole, out);
            finished++;
            begun = false;
            out = folder.resolve("out" + finished);
        }
        System.out.printf(
                "%s: %d kills, %d of them in a save, %d runs finished%n",
                getClass().getSimpleName(), kills, inSave, finished);
        assertTrue(finished > 0);
    }

    /**
     * Waits for the instant of a kill: in one of the next saves, any time after the start, or any
     * time in training. False when the process ended by itself before it came.
     */
    private static boolean awaitInstant(
            JloraProcess process, Path out, Set<Path> left, int kind, Random random)
            throws IOException, InterruptedException {
        if (kind == 0) {
            for (int save = random.nextInt(4); save >= 0; save--) {
                if (!awaitTrue(process, () -> !newer(out, left))
                        || !awaitTrue(process, () -> newer(out, left))) {
                    return false;
                }
            }
            Thread.sleep(0, random.nextInt(999_999)); // anywhere in it
            return true;
        }
        if (kind == 2 && !awaitTrue(process, () -> process.output().contains("\nstep "))) {
            return false;
        }
        long instant = System.nanoTime() + (long) (random.nextDouble() * 2e9);
        return awaitTrue(process, () -> System.nanoTime() > instant);
    }

    private interface Condition {
        boolean holds() throws IOException;
    }

    private static boolean awaitTrue(JloraProcess process, Condition condition) throws IOException {
        while (process.isAlive()) {
            if (condition.holds()) {
                return true;
            }
            Thread.onSpinWait();
        }
        return false;
    }

    /** Whether a checkpoint is being written now that none of the killed processes left. */
    private static boolean newer(Path out, Set<Path> left) {
        return !left.containsAll(unfinished(out));
    }

    private static Set<Path> unfinished(Path out) {
        try (Stream<Path> files = Files.list(out)) {
            return files.filter(f -> f.getFileName().toString().startsWith(".checkpoint-"))
                    .collect(Collectors.toSet());
        } catch (IOException _) {
            return Set.of();
        }
    }
}
