package jlora.runtime.io;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Collects tensors and writes them as one safetensors file, in the reference implementation's
 * order: the widest types first, then by name, so that every tensor lies aligned. Tensors are
 * streamed; no copy of them is made. Files appear whole or not at all.
 */
public final class SafetensorsWriter {
    /** Takes the bytes of a tensor piece by piece. */
    @FunctionalInterface
    public interface Sink {
        void write(MemorySegment piece) throws IOException;
    }

    /** Hands the little-endian, dense, row-major bytes of one tensor to a sink. */
    @FunctionalInterface
    public interface Body {
        void writeTo(Sink sink) throws IOException;
    }

    private record Item(String name, SafetensorsType type, long[] shape, long bytes, Body body) {}

    private static final int CHUNK = 1 << 28;
    private static final int HEAP_CHUNK = 1 << 20;

    private final Map<String, String> metadata = new TreeMap<>();
    private final List<Item> items = new ArrayList<>();
    private final Set<String> names = new HashSet<>();

    /** A writer whose metadata says {@code {"format": "pt"}}, as files for PyTorch do. */
    public SafetensorsWriter() {
        metadata.put("format", "pt");
    }

    /** Adds a metadata entry or replaces it. */
    public SafetensorsWriter metadata(String key, String value) {
        metadata.put(key, value);
        return this;
    }

    /** Adds a tensor whose bytes are read from {@code data} when the file is written. */
    public SafetensorsWriter tensor(
            String name, SafetensorsType type, long[] shape, MemorySegment data) {
        return tensor(name, type, shape, sink -> sink.write(data));
    }

    /** Adds a tensor whose bytes {@code body} produces when the file is written. */
    public SafetensorsWriter tensor(String name, SafetensorsType type, long[] shape, Body body) {
        long bytes =
                type.bytesOf(shape)
                        .orElseThrow(() -> new IllegalArgumentException(name + ": bad shape"));
        if (name.isEmpty() || name.equals("__metadata__") || !names.add(name)) {
            throw new IllegalArgumentException("bad or repeated tensor name '" + name + "'");
        }
        items.add(new Item(name, type, shape.clone(), bytes, body));
        return this;
    }

    /** Writes the file and replaces one of that name; failing to is exit code 8. */
    public void write(Path file) {
        items.sort(
                Comparator.comparing(Item::type, Comparator.reverseOrder())
                        .thenComparing(Item::name));
        byte[] header = header();
        AtomicFile.write(
                file,
                channel -> {
                    ByteBuffer start =
                            ByteBuffer.allocate(8 + header.length).order(ByteOrder.LITTLE_ENDIAN);
                    start.putLong(header.length).put(header).flip();
                    writeAll(channel, start);
                    for (Item item : items) {
                        write(channel, item);
                    }
                });
    }

    private byte[] header() {
        ObjectNode header = Json.object();
        ObjectNode meta = header.putObject("__metadata__");
        metadata.forEach(meta::put);
        long at = 0;
        for (Item item : items) {
            ObjectNode entry = header.putObject(item.name);
            entry.put("dtype", item.type.name());
            ArrayNode shape = entry.putArray("shape");
            for (long dimension : item.shape) {
                shape.add(dimension);
            }
            entry.putArray("data_offsets").add(at).add(at + item.bytes);
            at += item.bytes;
        }
        byte[] json = Json.compact(header);
        byte[] padded = new byte[(json.length + 7) / 8 * 8];
        Arrays.fill(padded, (byte) ' ');
        System.arraycopy(json, 0, padded, 0, json.length);
        return padded;
    }

    private static void write(FileChannel channel, Item item) throws IOException {
        long start = channel.position();
        item.body.writeTo(
                piece -> {
                    boolean direct =
                            piece.isNative() || piece.heapBase().orElse(null) instanceof byte[];
                    int chunk = direct ? CHUNK : HEAP_CHUNK;
                    for (long at = 0; at < piece.byteSize(); at += chunk) {
                        MemorySegment part =
                                piece.asSlice(at, Math.min(chunk, piece.byteSize() - at));
                        // Java shows a float[] to no channel: its bytes are copied chunk by chunk.
                        writeAll(
                                channel,
                                direct
                                        ? part.asByteBuffer()
                                        : ByteBuffer.wrap(part.toArray(ValueLayout.JAVA_BYTE)));
                    }
                });
        long written = channel.position() - start;
        if (written != item.bytes) {
            throw new IllegalStateException(
                    item.name + ": wrote " + written + " bytes of " + item.bytes);
        }
    }

    private static void writeAll(FileChannel channel, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }
}
