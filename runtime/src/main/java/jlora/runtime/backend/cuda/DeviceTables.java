package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.DeviceBuffer;
import jlora.runtime.Resources;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;

/**
 * Small constant tables in device memory, each made once for its contents: what a launch is told
 * beyond plain arguments. The same work asks for the same tables, so those of a captured graph are
 * there since the run before the capture, and stay as long as the backend.
 */
final class DeviceTables implements AutoCloseable {
    /** A table of all copies of an 8B model's adapter takes 31 KiB. */
    static final long CHUNK_BYTES = 1L << 20;

    private static final long ALIGNMENT = 16;

    private final CudaContext context;
    private final CudaStream stream;
    private final Resources chunks = new Resources();
    private final Map<ByteBuffer, Long> addresses = new HashMap<>();
    private DeviceBuffer chunk;
    private long used;

    DeviceTables(CudaContext context, CudaStream stream) {
        this.context = context;
        this.stream = stream;
        this.chunk = newChunk(CHUNK_BYTES);
    }

    private DeviceBuffer newChunk(long bytes) {
        used = 0;
        return chunks.own(context.allocate("tables", bytes));
    }

    /** The address of a table with these contents; the array must not change afterwards. */
    long address(byte[] contents) {
        Long known = addresses.get(ByteBuffer.wrap(contents));
        if (known != null) {
            return known;
        }
        if (stream.capturing()) {
            throw new IllegalStateException(
                    "a table of "
                            + contents.length
                            + " bytes is new while work is captured: run the work once before");
        }
        if (used + contents.length > chunk.bytes()) {
            chunk = newChunk(Math.max(CHUNK_BYTES, contents.length));
        }
        long address = chunk.address() + used;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate(Math.max(1, contents.length), ALIGNMENT);
            MemorySegment.copy(MemorySegment.ofArray(contents), 0, host, 0, contents.length);
            stream.copyToDevice(address, host.address(), contents.length);
            stream.synchronize();
        }
        used += Math.ceilDiv(contents.length, ALIGNMENT) * ALIGNMENT;
        addresses.put(ByteBuffer.wrap(contents), address);
        return address;
    }

    @Override
    public void close() {
        chunks.close();
    }
}
