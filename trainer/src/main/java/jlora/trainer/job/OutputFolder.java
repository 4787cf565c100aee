package jlora.trainer.job;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.checkpoint.CheckpointFolder;
import jlora.trainer.metrics.tensorboard.TensorBoardReport;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * The folder of a run's results: checked before anything costly starts, made when there is
 * something to write.
 */
public final class OutputFolder implements AutoCloseable {
    /** What a run writes at its end. */
    private static final List<String> RESULTS =
            List.of("adapter_model.safetensors", "model.safetensors");

    /** What a run writes, and by which an earlier one is recognised. */
    private static final List<String> OWN =
            List.of(
                    "adapter_config.json",
                    "adapter_model.safetensors",
                    "model.safetensors",
                    "metrics.jsonl",
                    "trainer_state.json",
                    "config.yaml",
                    "report.html");

    /** What to do with a run that is there. */
    enum Existing {
        /** That is an error. */
        REFUSE,
        /** It is replaced. */
        REPLACE,
        /** It is gone on with, or replaced where it has neither a checkpoint nor an end. */
        RESUME
    }

    private final Path path;
    private final Existing existing;
    private FolderLock lock;

    private OutputFolder(Path path, Existing existing) {
        this.path = path;
        this.existing = existing;
        if (Files.isDirectory(path)) {
            lock = FolderLock.of(path);
        }
    }

    /**
     * Checks that the folder can be written, holds no run that would be lost, and is nobody else's.
     */
    static OutputFolder open(Path path, Existing existing) {
        requireWritable(path);
        for (String name : existing == Existing.REFUSE ? OWN : List.<String>of()) {
            if (Files.exists(path.resolve(name))) {
                throw JloraException.usage(
                        "output_dir "
                                + path
                                + " already holds a run ("
                                + name
                                + "); choose another folder, pass --resume_from_checkpoint auto to"
                                + " go on with it, or --overwrite to replace it.");
            }
        }
        for (String name : existing == Existing.RESUME ? RESULTS : List.<String>of()) {
            if (Files.exists(path.resolve(name)) && CheckpointFolder.in(path).isEmpty()) {
                throw JloraException.usage(
                        "output_dir "
                                + path
                                + " holds a finished run ("
                                + name
                                + ") and no checkpoint to go on from; choose another folder, or"
                                + " pass --overwrite to replace it.");
            }
        }
        return new OutputFolder(path, existing);
    }

    /** Refuses a folder that cannot be made or written into. */
    static void requireWritable(Path path) {
        Path parent = path.toAbsolutePath();
        while (parent != null && !Files.exists(parent)) {
            parent = parent.getParent();
        }
        if (parent == null || !Files.isDirectory(parent) || !Files.isWritable(parent)) {
            throw new JloraException(
                    ExitCode.USAGE,
                    "output_dir "
                            + path
                            + " cannot be written ("
                            + parent
                            + (parent != null && Files.isDirectory(parent)
                                    ? " is read-only"
                                    : " is not a folder")
                            + "); choose another folder.");
        }
    }

    public Path path() {
        return path;
    }

    /** Makes the folder, and removes what an earlier run wrote that is replaced. */
    void create() {
        try {
            Files.createDirectories(path);
            if (lock == null) {
                lock = FolderLock.of(path);
            }
            if (existing != Existing.REFUSE) {
                removeEarlier();
            }
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.CHECKPOINT_IO,
                    "output_dir "
                            + path
                            + " could not be made ("
                            + e.getMessage()
                            + "); choose another folder.",
                    e);
        }
    }

    private void removeEarlier() throws IOException {
        for (String name : OWN) {
            Files.deleteIfExists(path.resolve(name));
        }
        TensorBoardReport.delete(path);
        try (Stream<Path> files = Files.list(path)) {
            // Shards of an earlier full model would be read beside the new one.
            for (Path shard :
                    files.filter(f -> f.getFileName().toString().matches("model-.*\\.safetensors"))
                            .toList()) {
                Files.delete(shard);
            }
        }
        CheckpointFolder.removeUnfinished(path);
        CheckpointFolder.in(path).forEach(CheckpointFolder::delete);
    }

    /** Takes up a run that goes on from a checkpoint in this folder or elsewhere. */
    void resume() {
        try {
            Files.createDirectories(path);
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.CHECKPOINT_IO,
                    "output_dir " + path + " could not be made (" + e.getMessage() + ").",
                    e);
        }
        if (lock == null) {
            lock = FolderLock.of(path);
        }
        CheckpointFolder.removeUnfinished(path);
    }

    @Override
    public void close() {
        if (lock != null) {
            lock.close();
        }
    }
}
