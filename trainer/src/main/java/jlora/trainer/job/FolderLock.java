package jlora.trainer.job;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.Json;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Keeps a second process from writing into the same output_dir, such as a job that was requeued
 * while its first process still ends. The kernel takes the lock back when the process dies, however
 * it does.
 */
final class FolderLock implements AutoCloseable {
    private static final String NAME = ".jlora.lock";

    private final Path file;
    private final FileChannel channel;

    private FolderLock(Path file, FileChannel channel) {
        this.file = file;
        this.channel = channel;
    }

    /** Locks a folder that exists; one that another run holds is exit code 2. */
    static FolderLock of(Path folder) {
        Path file = folder.resolve(NAME);
        try {
            while (true) {
                FileChannel channel =
                        FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                FileLock lock = tryLock(channel);
                if (lock == null) {
                    channel.close();
                    throw JloraException.usage(
                            "output_dir "
                                    + folder
                                    + " is in use by another run of jlora; wait for its end, or"
                                    + " choose another folder");
                }
                if (isStill(file, channel)) {
                    return new FolderLock(file, channel);
                }
                channel.close(); // its owner has just removed it: this is another file
            }
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.CHECKPOINT_IO,
                    file
                            + ": output_dir cannot be locked ("
                            + Json.reason(e)
                            + "); correct its permissions, or choose a file system that has locks",
                    e);
        }
    }

    private static FileLock tryLock(FileChannel channel) throws IOException {
        try {
            return channel.tryLock();
        } catch (OverlappingFileLockException _) {
            return null; // another run of this process
        }
    }

    /** Whether the name still leads to the file that is locked: the owner marks it as its own. */
    private static boolean isStill(Path file, FileChannel channel) throws IOException {
        String mark = ProcessHandle.current().pid() + " " + System.nanoTime() + "\n";
        channel.truncate(0);
        channel.write(ByteBuffer.wrap(mark.getBytes(StandardCharsets.US_ASCII)), 0);
        return Files.exists(file) && Files.readString(file).equals(mark);
    }

    @Override
    public void close() {
        try (channel) {
            Files.deleteIfExists(file);
        } catch (IOException _) {
            return; // the lock itself goes with the channel; the file does no harm
        }
    }
}
