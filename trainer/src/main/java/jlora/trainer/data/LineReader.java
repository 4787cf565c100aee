package jlora.trainer.data;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/**
 * The lines of a text file, plain or gzip (told by the first bytes, not by the name), as bytes
 * without their line end. Blank lines are skipped but counted, and a byte order mark at the start
 * is left out.
 */
final class LineReader implements AutoCloseable {
    // A line is held in memory whole; one beyond this is no data row.
    private static final int LONGEST_LINE = 1 << 28;
    private static final int GZIP_FIRST = 0x1f;
    private static final int GZIP_SECOND = 0x8b;

    private final Path file;
    private final InputStream in;
    private final byte[] buffer = new byte[1 << 16];
    private int at;
    private int end;
    private int line;

    private LineReader(Path file, InputStream in) {
        this.file = file;
        this.in = in;
    }

    static LineReader open(Path file) {
        if (!Files.exists(file)) {
            throw JloraException.usage(
                    "Data set " + file + " does not exist; correct datasets.path.");
        }
        if (Files.isDirectory(file)) {
            throw JloraException.usage(
                    "Data set " + file + " is a folder; name a .jsonl or .jsonl.gz file in it.");
        }
        InputStream raw = null;
        try {
            raw = new BufferedInputStream(Files.newInputStream(file), 1 << 16);
            raw.mark(3);
            boolean gzip = raw.read() == GZIP_FIRST && raw.read() == GZIP_SECOND;
            raw.reset();
            return new LineReader(file, gzip ? new GZIPInputStream(raw, 1 << 16) : raw);
        } catch (IOException e) {
            closeQuietly(raw, e);
            if (e instanceof FileSystemException) {
                throw JloraException.usage(
                        "Data set "
                                + file
                                + " cannot be opened ("
                                + e.getMessage()
                                + "); check its permissions.");
            }
            throw unreadable(file, 0, e);
        }
    }

    private static void closeQuietly(InputStream in, IOException cause) {
        if (in != null) {
            try {
                in.close();
            } catch (IOException e) {
                cause.addSuppressed(e);
            }
        }
    }

    /** Number of the line that {@link #next} gave last, from 1. */
    int line() {
        return line;
    }

    /** The next line that is not blank, or null at the end. */
    byte[] next() {
        while (true) {
            byte[] bytes = nextLine();
            if (bytes == null || !blank(bytes)) {
                return bytes;
            }
        }
    }

    private byte[] nextLine() {
        ByteArrayOutputStream partial = null;
        try {
            while (true) {
                if (at == end && !fill()) {
                    if (partial == null) {
                        return null;
                    }
                    return finished(partial.toByteArray());
                }
                int stop = at;
                while (stop < end && buffer[stop] != '\n') {
                    stop++;
                }
                boolean whole = stop < end;
                if (whole && partial == null) {
                    byte[] bytes = Arrays.copyOfRange(buffer, at, stop);
                    at = stop + 1;
                    return finished(bytes);
                }
                if (partial == null) {
                    partial = new ByteArrayOutputStream(2 * (stop - at) + 64);
                }
                if (partial.size() > LONGEST_LINE) {
                    throw JloraException.corrupt(
                            file
                                    + ":"
                                    + (line + 1)
                                    + ": the line is longer than 256 MiB; write one JSON object a"
                                    + " line.");
                }
                partial.write(buffer, at, stop - at);
                at = whole ? stop + 1 : stop;
                if (whole) {
                    return finished(partial.toByteArray());
                }
            }
        } catch (IOException e) {
            throw unreadable(file, line, e);
        }
    }

    private boolean fill() throws IOException {
        at = 0;
        end = Math.max(0, in.read(buffer));
        return end > 0;
    }

    private byte[] finished(byte[] bytes) {
        line++;
        boolean mark =
                line == 1
                        && bytes.length >= 3
                        && (bytes[0] & 0xFF) == 0xEF
                        && (bytes[1] & 0xFF) == 0xBB
                        && (bytes[2] & 0xFF) == 0xBF;
        return mark ? Arrays.copyOfRange(bytes, 3, bytes.length) : bytes;
    }

    private static boolean blank(byte[] bytes) {
        for (byte b : bytes) {
            if (b != ' ' && b != '\t' && b != '\r') {
                return false;
            }
        }
        return true;
    }

    private static JloraException unreadable(Path file, int line, IOException e) {
        String what =
                e instanceof EOFException || e instanceof ZipException
                        ? "is a truncated or damaged gzip file"
                        : "cannot be read";
        return new JloraException(
                ExitCode.CORRUPT_INPUT,
                "Data set "
                        + file
                        + " "
                        + what
                        + " after line "
                        + line
                        + " ("
                        + e.getMessage()
                        + "); write or download it again.",
                e);
    }

    @Override
    public void close() {
        try {
            in.close();
        } catch (IOException e) {
            throw unreadable(file, line, e);
        }
    }
}
