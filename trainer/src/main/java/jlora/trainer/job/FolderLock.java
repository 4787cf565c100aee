package jlora.trainer.job;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.Json;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Keeps a second process from writing into the same output_dir, such as a job that was requeued
 * while its first process still ends. The kernel takes the lock back when the process dies, however
 * it does.
 */
final class FolderLock implements AutoCloseable {
    private static final String NAME = ".jlora.lock";

    /**
     * Folders that runs of this process hold. The kernel's lock is the process's, and goes when any
     * of its channels to the file is closed: a second one must not even be opened.
     */
    private static final Set<Path> OWN = ConcurrentHashMap.newKeySet();

    private final Path folder;
    private final FileChannel channel;

    private FolderLock(Path folder, FileChannel channel) {
        this.folder = folder;
        this.channel = channel;
    }

    /** Locks a folder that exists; one that another run holds is exit code 2. */
    static FolderLock of(Path folder) {
        try {
            Path real = folder.toRealPath();
            if (!OWN.add(real)) {
                throw inUse(folder);
            }
            try {
                return new FolderLock(real, lock(real).orElseThrow(() -> inUse(folder)));
            } catch (IOException | RuntimeException | Error e) {
                OWN.remove(real);
                throw e;
            }
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.CHECKPOINT_IO,
                    "output_dir "
                            + folder
                            + " cannot be locked ("
                            + Json.reason(e)
                            + "); correct its permissions, or choose a file system that has locks",
                    e);
        }
    }

    private static JloraException inUse(Path folder) {
        return JloraException.usage(
                "output_dir "
                        + folder
                        + " is in use by another run of jlora; wait for its end, or choose another"
                        + " folder");
    }

    /** The channel that holds the lock; empty when another process does. */
    private static Optional<FileChannel> lock(Path folder) throws IOException {
        Path file = folder.resolve(NAME);
        while (true) {
            try {
                Files.createFile(file);
            } catch (FileAlreadyExistsException _) {
                // Another run's, or left by one that was killed.
            }
            // The owner removes the file when it is done. Only if the name leads to the same file
            // before it is opened and after it is locked is that the file that is locked.
            Object before = key(file);
            FileChannel channel;
            try {
                channel = FileChannel.open(file, StandardOpenOption.WRITE);
            } catch (NoSuchFileException _) {
                continue;
            }
            if (channel.tryLock() == null) {
                channel.close();
                return Optional.empty();
            }
            if (before != null && before.equals(key(file))) {
                return Optional.of(channel);
            }
            channel.close();
        }
    }

    /** Which file the name leads to; null when there is none. */
    private static Object key(Path file) throws IOException {
        try {
            return Files.readAttributes(file, BasicFileAttributes.class).fileKey();
        } catch (NoSuchFileException _) {
            return null;
        }
    }

    @Override
    public void close() {
        if (!OWN.contains(folder)) {
            return;
        }
        try (channel) {
            Files.deleteIfExists(folder.resolve(NAME));
        } catch (IOException _) {
            return; // the lock itself goes with the channel; the file does no harm
        } finally {
            OWN.remove(folder);
        }
    }
}
