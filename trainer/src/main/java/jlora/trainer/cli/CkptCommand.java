package jlora.trainer.cli;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.checkpoint.CheckpointFolder;
import jlora.trainer.checkpoint.CheckpointState;
import jlora.trainer.job.Bytes;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

@Command(
        name = "ckpt",
        description = "Looks after the checkpoints of a run.",
        synopsisSubcommandLabel = "COMMAND",
        mixinStandardHelpOptions = true)
final class CkptCommand implements Runnable {
    @Spec private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "a command is missing");
    }

    @Command(
            name = "ls",
            description = "Lists the checkpoints in an output folder, the oldest first.",
            mixinStandardHelpOptions = true)
    void ls(
            @Parameters(paramLabel = "OUTPUT_DIR", description = "Folder of the run.")
                    Path folder) {
        PrintWriter out = spec.commandLine().getOut();
        for (CheckpointFolder checkpoint : checkpoints(folder)) {
            out.printf(
                    Locale.ROOT,
                    "%-20s  %12s  %s%n",
                    checkpoint.path().getFileName(),
                    Bytes.text(checkpoint.bytes()),
                    summary(checkpoint));
        }
        out.flush();
    }

    private static String summary(CheckpointFolder checkpoint) {
        try {
            CheckpointState state = CheckpointState.read(checkpoint.path());
            String best =
                    state.progress().best().known()
                            ? String.format(
                                    Locale.ROOT,
                                    ", best evaluation %.4f after step %d",
                                    state.progress().best().value(),
                                    state.progress().best().step())
                            : "";
            return String.format(
                    Locale.ROOT,
                    "epoch %.2f, %,d tokens%s",
                    state.progress().epoch(),
                    state.progress().tokens(),
                    best);
        } catch (JloraException e) {
            return e.getMessage();
        }
    }

    @Command(
            name = "verify",
            description = {
                "Reads every byte of the checkpoints in an output folder, or of one checkpoint, and"
                        + " compares it with its manifest.",
                "Exit code 3 when one is damaged."
            },
            mixinStandardHelpOptions = true)
    int verify(
            @Parameters(paramLabel = "FOLDER", description = "Of a run, or of a checkpoint.")
                    Path folder) {
        PrintWriter out = spec.commandLine().getOut();
        List<CheckpointFolder> all =
                CheckpointFolder.of(folder.toAbsolutePath().normalize())
                        .map(List::of)
                        .orElseGet(() -> checkpoints(folder));
        int damaged = 0;
        for (CheckpointFolder checkpoint : all) {
            try {
                checkpoint.verify();
                out.println(checkpoint.path() + ": whole");
            } catch (JloraException e) {
                damaged++;
                out.println(e.getMessage());
            }
        }
        out.flush();
        if (damaged > 0) {
            throw JloraException.corrupt(
                    damaged
                            + " of "
                            + all.size()
                            + (all.size() == 1 ? " checkpoint is" : " checkpoints are")
                            + " damaged; remove them, and go on from a whole one");
        }
        return ExitCode.DONE.code();
    }

    @Command(
            name = "prune",
            description = "Removes all but the newest checkpoints of a run that has ended.",
            mixinStandardHelpOptions = true)
    void prune(
            @Parameters(paramLabel = "OUTPUT_DIR", description = "Folder of the run.") Path folder,
            @Option(
                            names = "--keep",
                            paramLabel = "N",
                            required = true,
                            description =
                                    "How many stay. The best one by its evaluations is one of them,"
                                            + " where it is still there.")
                    int keep) {
        if (keep < 1) {
            throw JloraException.usage("--keep is " + keep + ", but must be at least 1");
        }
        List<CheckpointFolder> all = checkpoints(folder);
        long best =
                all.isEmpty()
                        ? 0
                        : CheckpointState.read(all.getLast().path()).progress().best().step();
        PrintWriter out = spec.commandLine().getOut();
        for (CheckpointFolder removed : CheckpointFolder.prune(folder, keep, best)) {
            out.println("removed " + removed.path());
        }
        out.flush();
    }

    private static List<CheckpointFolder> checkpoints(Path folder) {
        if (!Files.isDirectory(folder)) {
            throw JloraException.usage(folder + " is not a folder; name the output_dir of a run");
        }
        return CheckpointFolder.in(folder);
    }
}
