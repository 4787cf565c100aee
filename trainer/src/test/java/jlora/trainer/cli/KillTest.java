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
        while (kills < KILLS || inSave < IN_A_SAVE || CheckpointFolder.in(out).size() > 0) {
            boolean enough = kills >= KILLS && inSave >= IN_A_SAVE;
            try (JloraProcess process = JloraProcess.start(Map.of(), words(out))) {
                boolean aimed = !enough && kills % 2 == 0;
                long instant = System.nanoTime() + (long) (random.nextDouble() * 3e9);
                if (!enough && awaitInstant(process, out, aimed, instant)) {
                    boolean saving = isSaving(out);
                    process.kill();
                    saving &= isSaving(out); // the kill came before the end of the save
                    kills++;
                    inSave += saving ? 1 : 0;
                    CheckpointFolder.in(out).forEach(CheckpointFolder::verify);
                    continue;
                }
                assertEquals(0, process.exitCode(Duration.ofMinutes(2)), process.output());
            }
            ResumeTest.assertSameResults(whole, out);
            finished++;
            out = folder.resolve("out" + finished);
        }
        System.out.printf(
                "%s: %d kills, %d of them in a save, %d runs finished%n",
                getClass().getSimpleName(), kills, inSave, finished);
        assertTrue(finished > 0);
    }

    /** False when the process ended by itself before the instant came. */
    private static boolean awaitInstant(
            JloraProcess process, Path out, boolean inASave, long instant)
            throws InterruptedException {
        while (process.isAlive()) {
            if (inASave
                    ? isSaving(out) && System.nanoTime() > instant
                    : System.nanoTime() > instant) {
                return true;
            }
            Thread.onSpinWait();
            if (!inASave) {
                Thread.sleep(1);
            }
        }
        return false;
    }

    private static boolean isSaving(Path out) {
        try (Stream<Path> files = Files.list(out)) {
            return files.anyMatch(f -> f.getFileName().toString().endsWith(".tmp"));
        } catch (IOException _) {
            return false;
        }
    }
}
