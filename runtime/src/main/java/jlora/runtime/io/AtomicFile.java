package jlora.runtime.io;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.UUID;

/**
 * Writes a file so that its name shows either the old content or all of the new: into a temporary
 * file in the same folder, flushed to the disk, then renamed. A failure leaves nothing behind.
 */
public final class AtomicFile {
    /** What writes the content. */
    @FunctionalInterface
    public interface Body {
        void writeTo(FileChannel channel) throws IOException;
    }

    private AtomicFile() {}

    /** Replaces {@code file} by these bytes; failing to is exit code 8. */
    public static void write(Path file, byte[] content) {
        write(
                file,
                channel -> {
                    ByteBuffer bytes = ByteBuffer.wrap(content);
                    while (bytes.hasRemaining()) {
                        channel.write(bytes);
                    }
                });
    }

    /** Replaces {@code file} by what {@code body} writes; failing to is exit code 8. */
    public static void write(Path file, Body body) {
        Path target = file.toAbsolutePath();
        Path temporary =
                target.resolveSibling(
                        "." + target.getFileName() + "." + UUID.randomUUID() + ".tmp");
        try {
            try (FileChannel channel =
                    FileChannel.open(
                            temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
                body.writeTo(channel);
                channel.force(true);
            }
            Files.move(
                    temporary,
                    target,
                    StandardCopyOption.ATOMIC_MOVE,
                    StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            discard(temporary, e);
            throw new JloraException(
                    ExitCode.CHECKPOINT_IO,
                    file
                            + ": could not be written ("
                            + Json.reason(e)
                            + "); check that the folder exists, is writable and has space left",
                    e);
        } catch (RuntimeException | Error e) {
            discard(temporary, e);
            throw e;
        }
        flushFolder(target.getParent());
    }

    private static void discard(Path temporary, Throwable because) {
        try {
            Files.deleteIfExists(temporary);
        } catch (IOException e) {
            because.addSuppressed(e);
        }
    }

    /** Makes renames in a folder survive a power cut, where its file system can. */
    public static void flushFolder(Path folder) {
        try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
            channel.force(true);
        } catch (IOException e) {
            // Some file systems cannot open or flush a folder. The file itself is complete and in
            // place, so this is no failure of the write.
            return;
        }
    }
}
