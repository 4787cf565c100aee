package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.trainer.checkpoint.CheckpointFolder;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** {@code jlora ckpt}, on the checkpoints of a run that saves after every evaluation. */
class CkptCommandTest {
    @TempDir Path folder;
    private RunFolder run;

    @BeforeEach
    void train() throws IOException {
        run = RunFolder.create(folder);
        run.succeeds(
                "train", "--eval_steps", 2, "--save_steps", 2, "--load_best_model_at_end", true);
    }

    private List<Long> steps() {
        return CheckpointFolder.in(run.out()).stream().map(CheckpointFolder::step).toList();
    }

    @Test
    void listsEachWithItsSizeAndProgress() {
        String said = CommandLineRun.succeeds("ckpt", "ls", run.out());
        List<String> lines = said.lines().toList();
        assertEquals(3, lines.size(), said);
        assertTrue(lines.getFirst().startsWith("checkpoint-2 "), said);
        assertTrue(
                lines.getLast().matches("checkpoint-6 .* KiB .*tokens, best evaluation .*"), said);
    }

    @Test
    void verifiesAllOrOneAndNamesWhatIsDamaged() throws IOException {
        Path four = run.out().resolve("checkpoint-4");
        assertEquals(3, CommandLineRun.succeeds("ckpt", "verify", run.out()).lines().count());
        Files.writeString(four.resolve("state.json"), "{}");
        CommandLineRun all = CommandLineRun.of("ckpt", "verify", run.out());
        all.refused(ExitCode.CORRUPT_INPUT, "1 of 3 checkpoints are damaged");
        assertTrue(all.out().contains("checkpoint-4: the checkpoint is damaged: state.json"));
        CommandLineRun.of("ckpt", "verify", four).refused(ExitCode.CORRUPT_INPUT, "1 of 1");
        CommandLineRun.succeeds("ckpt", "verify", run.out().resolve("checkpoint-2"));
    }

    @Test
    void prunesTheOldest() {
        assertEquals(List.of(2L, 4L, 6L), steps());
        CommandLineRun.succeeds("ckpt", "prune", run.out(), "--keep", 2);
        assertEquals(2, steps().size());
        assertEquals(6, steps().getLast());
        CommandLineRun.of("ckpt", "prune", run.out(), "--keep", 0)
                .refused(ExitCode.USAGE, "--keep");
        CommandLineRun.of("ckpt", "ls", folder.resolve("none")).refused(ExitCode.USAGE, "folder");
    }
}
