package jlora.runtime.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * One named allocation that storages are placed in. Whoever allocates it names it and closes it; a
 * storage placed in a closed arena must not be used.
 */
public final class MemoryArena implements AutoCloseable {
    /**
     * Offsets of storages are multiples of this many bytes: a cache line, and what CUDA's vector
     * loads ask for.
     */
    public static final long ALIGNMENT = 256;

    private final String label;
    private final long bytes;
    private final MemorySegment host;
    private final long device;
    private final Runnable free;
    private boolean closed;

    private MemoryArena(String label, long bytes, MemorySegment host, long device, Runnable free) {
        this.label = Objects.requireNonNull(label);
        this.bytes = bytes;
        this.host = host;
        this.device = device;
        this.free = free;
    }

    /** Zeroed host memory. */
    public static MemoryArena host(String label, long bytes) {
        Arena owner = Arena.ofShared();
        return new MemoryArena(label, bytes, owner.allocate(bytes, ALIGNMENT), 0, owner::close);
    }

    /** Host memory that stays its owner's. */
    public static MemoryArena over(String label, MemorySegment host) {
        return new MemoryArena(label, host.byteSize(), host, 0, () -> {});
    }

    /** Host memory that a backend allocated; {@code free} runs once, on close. */
    public static MemoryArena host(String label, MemorySegment host, Runnable free) {
        return new MemoryArena(label, host.byteSize(), host, 0, free);
    }

    /** Device memory that a backend allocated; {@code free} runs once, on close. */
    public static MemoryArena device(String label, long bytes, long address, Runnable free) {
        return new MemoryArena(label, bytes, null, address, free);
    }

    public static long align(long bytes) {
        return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    public String label() {
        return label;
    }

    public long bytes() {
        return bytes;
    }

    /** The whole arena's host memory; fails for device memory. */
    public MemorySegment segment() {
        if (host == null) {
            throw new IllegalStateException("arena '" + label + "' is device memory");
        }
        return host;
    }

    /** Gives a storage its bytes, {@code offset} bytes into this arena. */
    public void place(Storage storage, long offset) {
        if (closed) {
            throw new IllegalStateException("arena '" + label + "' is closed");
        }
        if (offset < 0 || offset % ALIGNMENT != 0 || offset + storage.bytes() > bytes) {
            throw new IllegalArgumentException(
                    "arena '"
                            + label
                            + "' of "
                            + bytes
                            + " bytes cannot place "
                            + storage
                            + " at "
                            + offset);
        }
        if (host != null) {
            storage.placeHost(host.asSlice(offset, storage.bytes()));
        } else {
            storage.placeDevice(device + offset);
        }
    }

    @Override
    public void close() {
        if (!closed) {
            closed = true;
            free.run();
        }
    }
}
