package jlora.trainer.metrics.tensorboard;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads event files by the formats' descriptions, with nothing of the code that writes them: a CRC
 * bit by bit, and fields of any number and kind.
 */
public final class EventReader {
    /**
     * @param version empty but in the first event
     * @param restart whether the session log says START
     */
    public record Event(
            double time, long step, String version, boolean restart, Map<String, Float> scalars) {}

    private EventReader() {}

    /** The events of a file; throws an error where a CRC or a length is wrong. */
    public static List<Event> read(Path file) throws IOException {
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        List<Event> events = new ArrayList<>();
        while (bytes.hasRemaining()) {
            byte[] length = take(bytes, 8);
            check(length, bytes.getInt());
            byte[] data = take(bytes, (int) little(length).getLong());
            check(data, bytes.getInt());
            events.add(event(data));
        }
        return events;
    }

    private static void check(byte[] data, int stored) {
        int crc = ~0;
        for (byte b : data) {
            crc ^= b & 0xff;
            for (int bit = 0; bit < 8; bit++) {
                // The Castagnoli polynomial 0x1EDC6F41, bits reversed.
                crc = (crc & 1) != 0 ? crc >>> 1 ^ 0x82f63b78 : crc >>> 1;
            }
        }
        crc = ~crc;
        int masked = (crc >>> 15 | crc << 17) + 0xa282ead8;
        if (masked != stored) {
            throw new AssertionError("a record's CRC is wrong");
        }
    }

    private static byte[] take(ByteBuffer from, int count) {
        byte[] taken = new byte[count];
        from.get(taken);
        return taken;
    }

    private static ByteBuffer little(byte[] bytes) {
        return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    /** One field: its number, and its value as a Long, Double, Float or byte[]. */
    private record Field(int number, Object value) {}

    private static List<Field> fields(byte[] message) {
        ByteBuffer in = little(message);
        List<Field> fields = new ArrayList<>();
        while (in.hasRemaining()) {
            long key = varint(in);
            Object value =
                    switch ((int) (key & 7)) {
                        case 0 -> varint(in);
                        case 1 -> in.getDouble();
                        case 2 -> take(in, (int) varint(in));
                        case 5 -> in.getFloat();
                        default -> throw new AssertionError("kind " + (key & 7));
                    };
            fields.add(new Field((int) (key >>> 3), value));
        }
        return fields;
    }

    private static long varint(ByteBuffer in) {
        long value = 0;
        for (int shift = 0; ; shift += 7) {
            byte b = in.get();
            value |= (long) (b & 0x7f) << shift;
            if (b >= 0) {
                return value;
            }
        }
    }

    private static Event event(byte[] message) {
        double time = Double.NaN;
        long step = 0;
        String version = "";
        boolean restart = false;
        Map<String, Float> scalars = new LinkedHashMap<>();
        for (Field field : fields(message)) {
            switch (field.number) {
                case 1 -> time = (Double) field.value;
                case 2 -> step = (Long) field.value;
                case 3 -> version = text(field.value);
                case 5 -> fields((byte[]) field.value).forEach(value -> scalar(value, scalars));
                case 7 -> {
                    List<Field> log = fields((byte[]) field.value);
                    restart = log.size() == 1 && log.getFirst().equals(new Field(1, 1L));
                }
                default -> throw new AssertionError("an event has no field " + field.number);
            }
        }
        return new Event(time, step, version, restart, scalars);
    }

    private static void scalar(Field value, Map<String, Float> scalars) {
        List<Field> parts = fields((byte[]) value.value);
        if (value.number != 1
                || parts.size() != 2
                || parts.get(0).number != 1
                || parts.get(1).number != 2
                || scalars.put(text(parts.get(0).value), (Float) parts.get(1).value) != null) {
            throw new AssertionError("not a scalar with a tag: " + parts);
        }
    }

    private static String text(Object bytes) {
        return new String((byte[]) bytes, StandardCharsets.UTF_8);
    }
}
