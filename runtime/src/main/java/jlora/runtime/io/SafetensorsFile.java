package jlora.runtime.io;

import jlora.runtime.JloraException;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;

/**
 * A memory-mapped safetensors file. Opening reads and checks the whole header and nothing else: no
 * claim of the header leads to an allocation larger than the header itself. Whatever the reference
 * implementation rejects is refused, and so are duplicate keys, extra fields, a header that does
 * not start with a brace, and names that are empty or hold control characters or {@code ..}.
 */
public final class SafetensorsFile implements AutoCloseable {
    /** The reference implementation's limit on the header. */
    static final long MAX_HEADER_BYTES = 100_000_000;

    private static final ValueLayout.OfLong LENGTH =
            ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final Path path;
    private final Arena arena;
    private final SafetensorsHeader header;

    private SafetensorsFile(Path path, Arena arena, SafetensorsHeader header) {
        this.path = path;
        this.arena = arena;
        this.header = header;
    }

    /** Maps a file and checks its header; any fault is exit code 3. */
    public static SafetensorsFile open(Path path) {
        if (Files.isDirectory(path)) {
            throw JloraException.corrupt(
                    path
                            + ": is a folder where a safetensors file is expected; name the file in"
                            + " it");
        }
        if (!Files.exists(path)) {
            throw JloraException.corrupt(
                    path + ": there is no such file; check the path or download it again");
        }
        Arena arena = Arena.ofShared();
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            long size = channel.size();
            if (size < 8) {
                throw corrupt(path, "the file has " + size + " bytes, too few for its header");
            }
            MemorySegment all = channel.map(FileChannel.MapMode.READ_ONLY, 0, size, arena);
            long length = all.get(LENGTH, 0);
            if (length < 0 || length > MAX_HEADER_BYTES) {
                throw corrupt(
                        path,
                        "it claims a header of "
                                + Long.toUnsignedString(length)
                                + " bytes, more than the allowed "
                                + MAX_HEADER_BYTES);
            }
            if (length > size - 8) {
                throw corrupt(
                        path,
                        "it claims a header of "
                                + length
                                + " bytes but ends after "
                                + size
                                + " bytes");
            }
            SafetensorsHeader header =
                    SafetensorsHeader.read(path, all.asSlice(8, length), all.asSlice(8 + length));
            return new SafetensorsFile(path, arena, header);
        } catch (IOException e) {
            arena.close();
            throw JloraException.corrupt(
                    path
                            + ": cannot be read ("
                            + Json.reason(e)
                            + "); check its permissions and disk");
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    static JloraException corrupt(Path path, String cause) {
        return JloraException.corrupt(
                path
                        + ": not a valid safetensors file: "
                        + cause
                        + "; it is damaged, cut short or of another kind, so download or save it"
                        + " again");
    }

    public Path path() {
        return path;
    }

    /** The header's {@code __metadata__}, empty if there is none. */
    public Map<String, String> metadata() {
        return header.metadata();
    }

    /** All tensors in the order of the header. */
    public Map<String, SafetensorsEntry> entries() {
        return header.entries();
    }

    /** The tensor of that name; a file without it is exit code 3. */
    public SafetensorsEntry entry(String name) {
        SafetensorsEntry entry = header.entries().get(name);
        if (entry == null) {
            throw JloraException.corrupt(
                    path
                            + ": has no tensor "
                            + Json.quote(name)
                            + "; check that the file belongs to this model");
        }
        return entry;
    }

    /**
     * Unmaps the file: the data of its entries must not be used any more. Closing twice is fine.
     */
    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
