package jlora.trainer.checkpoint;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.AtomicFile;
import jlora.runtime.io.Json;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A checkpoint on disk, {@code checkpoint-STEP} in the output folder as Transformers names it. It
 * exists whole or not at all: it is written under a hidden name, flushed to the disk file by file,
 * and renamed.
 *
 * @param step that is done in it
 */
public record CheckpointFolder(Path path, long step) {
    private static final Pattern NAME = Pattern.compile("checkpoint-(\\d{1,18})");

    /** Under these names checkpoints are written and removed; what is left of them is rubbish. */
    private static final Pattern UNFINISHED =
            Pattern.compile("\\.checkpoint-\\d+\\.[0-9a-f-]{36}\\.(tmp|old)");

    /** The checkpoint that a folder's name says it is. */
    public static Optional<CheckpointFolder> of(Path path) {
        Matcher matcher = NAME.matcher(path.getFileName().toString());
        return matcher.matches()
                ? Optional.of(new CheckpointFolder(path, Long.parseLong(matcher.group(1))))
                : Optional.empty();
    }

    /** All checkpoints of a run, the oldest first. */
    public static List<CheckpointFolder> in(Path outputDir) {
        return list(outputDir).stream()
                .filter(Files::isDirectory)
                .flatMap(path -> of(path).stream())
                .sorted(Comparator.comparingLong(CheckpointFolder::step))
                .toList();
    }

    private static List<Path> list(Path folder) {
        try (Stream<Path> files = Files.list(folder)) {
            return files.toList();
        } catch (NoSuchFileException _) {
            return List.of();
        } catch (IOException e) {
            throw JloraException.usage(
                    folder
                            + ": cannot be read ("
                            + Json.reason(e)
                            + "); check output_dir and its permissions");
        }
    }

    /**
     * Reads every byte.
     *
     * @throws JloraException with exit code 3 that says what is damaged
     */
    public void verify() {
        Manifest.verify(path);
    }

    /** Bytes of all files. */
    public long bytes() {
        long bytes = 0;
        for (Path file : list(path)) {
            try {
                bytes += Files.size(file);
            } catch (IOException _) {
                continue; // gone, or not to be read: verify says so
            }
        }
        return bytes;
    }

    /**
     * Writes a checkpoint; one of that name is replaced. Failing to is exit code 8, and leaves
     * nothing behind.
     *
     * @param files writes all files but the manifest into a folder
     */
    public static CheckpointFolder write(Path outputDir, long step, Consumer<Path> files) {
        CheckpointFolder target =
                new CheckpointFolder(outputDir.resolve("checkpoint-" + step), step);
        Path temporary = target.hidden("tmp");
        try {
            Files.createDirectory(temporary);
            files.accept(temporary);
            Manifest.write(temporary);
            AtomicFile.flushFolder(temporary);
            Optional<Path> old = target.hide();
            Files.move(temporary, target.path, StandardCopyOption.ATOMIC_MOVE);
            AtomicFile.flushFolder(outputDir);
            if (old.isPresent()) {
                deleteTree(old.get());
            }
            return target;
        } catch (IOException e) {
            discard(temporary, e);
            throw new JloraException(
                    ExitCode.CHECKPOINT_IO,
                    target.path
                            + ": the checkpoint could not be written ("
                            + Json.reason(e)
                            + "); free some space or correct the permissions of output_dir",
                    e);
        } catch (RuntimeException | Error e) {
            discard(temporary, e);
            throw e;
        }
    }

    private Path hidden(String ending) {
        return path.resolveSibling(
                "." + path.getFileName() + "." + UUID.randomUUID() + "." + ending);
    }

    /** Takes a checkpoint out of sight in one move, so that none is ever seen in part. */
    private Optional<Path> hide() throws IOException {
        if (!Files.exists(path)) {
            return Optional.empty();
        }
        Path old = hidden("old");
        Files.move(path, old, StandardCopyOption.ATOMIC_MOVE);
        return Optional.of(old);
    }

    /** Removes the checkpoint; failing to is exit code 8. */
    public void delete() {
        try {
            Optional<Path> old = hide();
            if (old.isPresent()) {
                deleteTree(old.get());
            }
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.CHECKPOINT_IO,
                    path
                            + ": the checkpoint could not be removed ("
                            + Json.reason(e)
                            + "); correct the permissions of output_dir",
                    e);
        }
    }

    /**
     * Removes the oldest checkpoints.
     *
     * @param keep how many stay, the newest of them; the newest itself always does
     * @param best that stays whatever its age, and counts; 0 for none
     * @return those that were removed
     */
    public static List<CheckpointFolder> prune(Path outputDir, int keep, long best) {
        List<CheckpointFolder> all = in(outputDir);
        Set<Long> kept = new HashSet<>();
        if (!all.isEmpty()) {
            kept.add(all.getLast().step); // to go on from
        }
        all.stream().filter(c -> c.step == best).forEach(c -> kept.add(c.step));
        for (CheckpointFolder checkpoint : all.reversed()) {
            if (kept.size() < keep) {
                kept.add(checkpoint.step);
            }
        }
        List<CheckpointFolder> removed = all.stream().filter(c -> !kept.contains(c.step)).toList();
        removed.forEach(CheckpointFolder::delete);
        return removed;
    }

    /** Removes what a killed process left half written; only for who holds the folder's lock. */
    public static void removeUnfinished(Path outputDir) {
        for (Path path : list(outputDir)) {
            if (UNFINISHED.matcher(path.getFileName().toString()).matches()) {
                try {
                    deleteTree(path);
                } catch (IOException _) {
                    continue; // rubbish that stays is no reason not to train
                }
            }
        }
    }

    private static void discard(Path temporary, Throwable because) {
        try {
            deleteTree(temporary);
        } catch (IOException e) {
            because.addSuppressed(e);
        }
    }

    private static void deleteTree(Path folder) throws IOException {
        if (!Files.exists(folder)) {
            return;
        }
        for (Path file : list(folder)) {
            if (Files.isDirectory(file)) {
                deleteTree(file);
            } else {
                Files.delete(file);
            }
        }
        Files.delete(folder);
    }
}
