package jlora.runtime.io;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Builds safetensors files byte by byte, right or wrong ones, without the code under test. */
final class RawSafetensors {
    private RawSafetensors() {}

    static Path write(Path file, byte[] content) {
        try {
            return Files.write(file, content);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A file with this header and these many zero bytes of data. */
    static byte[] bytes(String header, int data) {
        return bytes(header.getBytes(StandardCharsets.UTF_8), new byte[data]);
    }

    static byte[] bytes(byte[] header, byte[] data) {
        return claiming(header.length, header, data);
    }

    static byte[] claiming(long headerLength, byte[] header, byte[] data) {
        return ByteBuffer.allocate(8 + header.length + data.length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(headerLength)
                .put(header)
                .put(data)
                .array();
    }

    /** One f32 vector per name, each of one element with the value of its position. */
    static byte[] vectors(String... names) {
        StringBuilder header = new StringBuilder("{");
        ByteBuffer data = ByteBuffer.allocate(4 * names.length).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < names.length; i++) {
            header.append(i == 0 ? "" : ",")
                    .append('"')
                    .append(names[i])
                    .append("\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[")
                    .append(4 * i)
                    .append(',')
                    .append(4 * i + 4)
                    .append("]}");
            data.putFloat(i);
        }
        return bytes(header.append('}').toString().getBytes(StandardCharsets.UTF_8), data.array());
    }
}
