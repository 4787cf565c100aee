package jlora.trainer.checkpoint;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.trainer.config.ResumeFrom;
import jlora.trainer.config.RunConfig;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/** A checkpoint, known to be whole, that a run goes on from. */
public final class ResumePoint {
    private final CheckpointFolder checkpoint;
    private final CheckpointState state;

    private ResumePoint(CheckpointFolder checkpoint) {
        this.checkpoint = checkpoint;
        this.state = CheckpointState.read(checkpoint.path());
    }

    /**
     * Finds the checkpoint that a run asks for, and reads every byte of it.
     *
     * @param note hears which newer checkpoints are damaged and passed over
     * @return empty when nothing is asked for, or {@code auto} finds no checkpoint
     * @throws JloraException when the one that is named, or every one there is, cannot be used
     */
    public static Optional<ResumePoint> find(
            Optional<ResumeFrom> from, Path outputDir, Consumer<String> note) {
        return switch (from.orElse(null)) {
            case null -> Optional.empty();
            case ResumeFrom.Folder folder -> Optional.of(named(folder.path()));
            case ResumeFrom.Auto _ -> newest(outputDir, note);
        };
    }

    private static ResumePoint named(Path folder) {
        if (!Files.isDirectory(folder)) {
            throw JloraException.usage(
                    "resume_from_checkpoint "
                            + folder
                            + " is not a folder; name one such as checkpoint-500, or auto");
        }
        CheckpointFolder checkpoint =
                CheckpointFolder.of(folder).orElseGet(() -> new CheckpointFolder(folder, 0));
        checkpoint.verify();
        return new ResumePoint(checkpoint);
    }

    private static Optional<ResumePoint> newest(Path outputDir, Consumer<String> note) {
        List<String> damaged = new ArrayList<>();
        for (CheckpointFolder checkpoint : CheckpointFolder.in(outputDir).reversed()) {
            try {
                checkpoint.verify();
            } catch (JloraException e) {
                damaged.add(e.getMessage());
                continue;
            }
            damaged.forEach(d -> note.accept(d + ": going on from " + checkpoint.path()));
            return Optional.of(new ResumePoint(checkpoint));
        }
        if (!damaged.isEmpty()) {
            throw JloraException.corrupt(
                    "output_dir "
                            + outputDir
                            + ": no checkpoint is whole ("
                            + damaged.getFirst()
                            + "); remove them to start anew");
        }
        return Optional.empty();
    }

    public CheckpointFolder checkpoint() {
        return checkpoint;
    }

    public CheckpointState state() {
        return state;
    }

    /** The metrics that were logged before it. */
    public Path metrics() {
        return checkpoint.path().resolve(CheckpointContents.METRICS);
    }

    /**
     * Refuses to go on with another run than the one that wrote the checkpoint.
     *
     * @param note hears what may change the last bits
     * @throws JloraException with exit code 2 that names every difference
     */
    public void requireSame(RunConfig config, RunIdentity identity, Consumer<String> note) {
        Path file = checkpoint.path().resolve(CheckpointContents.CONFIG);
        RunConfig written = RunConfig.load(Optional.of(file), List.of());
        List<String> differences = new ArrayList<>(written.differences(config));
        differences.addAll(state.identity().differences(identity));
        if (!differences.isEmpty()) {
            throw JloraException.usage(
                    "resume_from_checkpoint: "
                            + checkpoint.path()
                            + " is of another run: "
                            + String.join("; ", differences)
                            + ". Correct this, or start a new run in another output_dir.");
        }
        state.identity().notes(identity).forEach(note);
    }

    /** Puts parameters and moments back, by way of a copy. */
    public void restore(Backend backend, ParameterCopy copy) {
        TensorFiles.read(checkpoint.path(), copy);
        copy.restore(backend);
    }
}
