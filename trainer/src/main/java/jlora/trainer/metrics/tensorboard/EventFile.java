package jlora.trainer.metrics.tensorboard;

import java.io.IOException;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.CRC32C;

/**
 * A file of TensorFlow records: length (u64), CRC of the length (u32), the bytes, CRC of the bytes
 * (u32), all little-endian. The CRCs are CRC-32C, rotated and shifted, as TensorFlow's record
 * format asks ({@code tensorflow/core/lib/hash/crc32c.h}). Each record is handed to the system as
 * it comes, in one write.
 */
final class EventFile implements AutoCloseable {
    private static final Pattern NAME =
            Pattern.compile("events\\.out\\.tfevents\\.(\\d{10})\\..+\\.\\d+\\.\\d+");
    private static final int CRC_MASK = 0xa282ead8;

    private final Path path;
    private final FileChannel out;

    private EventFile(Path path, FileChannel out) {
        this.path = path;
        this.out = out;
    }

    /**
     * Begins a file behind those that the folder holds: TensorBoard reads them in the order of
     * their names, {@code events.out.tfevents.<seconds>.<host>.<process>.<number>}, so that the
     * seconds of a new one are later, whatever the clock of this machine says.
     *
     * @param seconds since 1970
     */
    static EventFile create(Path folder, long seconds) throws IOException {
        Files.createDirectories(folder);
        long last = -1;
        for (Path file : list(folder)) {
            last = Math.max(last, seconds(file));
        }
        String host = host();
        long process = ProcessHandle.current().pid();
        for (long at = Math.max(seconds, last + 1); ; at++) {
            Path path =
                    folder.resolve(
                            String.format(
                                    Locale.ROOT,
                                    "events.out.tfevents.%010d.%s.%d.0",
                                    at,
                                    host,
                                    process));
            try {
                return new EventFile(
                        path,
                        FileChannel.open(
                                path, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE));
            } catch (FileAlreadyExistsException e) {
                // Another process was faster: the next second is free.
            }
        }
    }

    /** The event files of a folder, if there is one; nothing else that lies there. */
    static List<Path> list(Path folder) throws IOException {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(folder)) {
            return new ArrayList<>(files.filter(file -> seconds(file) >= 0).sorted().toList());
        }
    }

    private static long seconds(Path file) {
        Matcher name = NAME.matcher(file.getFileName().toString());
        return name.matches() ? Long.parseLong(name.group(1)) : -1;
    }

    private static String host() {
        try {
            return InetAddress.getLocalHost().getHostName().replaceAll("[^A-Za-z0-9.-]", "-");
        } catch (UnknownHostException e) {
            return "localhost";
        }
    }

    Path path() {
        return path;
    }

    void write(byte[] record) throws IOException {
        ByteBuffer framed = ByteBuffer.allocate(record.length + 16).order(ByteOrder.LITTLE_ENDIAN);
        framed.putLong(record.length);
        framed.putInt(maskedCrc(framed.array(), Long.BYTES));
        framed.put(record);
        framed.putInt(maskedCrc(record, record.length));
        framed.flip();
        while (framed.hasRemaining()) {
            out.write(framed);
        }
    }

    private static int maskedCrc(byte[] bytes, int count) {
        CRC32C crc = new CRC32C();
        crc.update(bytes, 0, count);
        return Integer.rotateRight((int) crc.getValue(), 15) + CRC_MASK;
    }

    @Override
    public void close() throws IOException {
        out.close();
    }
}
