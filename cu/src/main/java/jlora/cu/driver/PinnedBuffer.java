package jlora.cu.driver;

import java.lang.foreign.MemorySegment;

/**
 * Page-locked host memory for asynchronous copies: it must live, unchanged, until the copy has
 * passed, so its owner keeps an event with it.
 */
public final class PinnedBuffer implements AutoCloseable {
    private final CudaDriver driver;
    private final String label;
    private final long bytes;
    private MemorySegment segment;

    private PinnedBuffer(CudaDriver driver, String label, long bytes, MemorySegment segment) {
        this.driver = driver;
        this.label = label;
        this.bytes = bytes;
        this.segment = segment;
    }

    @SuppressWarnings("restricted")
    static PinnedBuffer allocate(CudaDriver driver, String label, long bytes) {
        if (bytes <= 0) {
            throw new IllegalArgumentException(label + ": " + bytes + " bytes of pinned memory");
        }
        long[] address = new long[1];
        driver.check(
                "cuMemHostAlloc",
                driver.api().cuMemHostAlloc(address, bytes, 0),
                () -> label + ", " + bytes + " bytes of pinned host memory");
        return new PinnedBuffer(
                driver, label, bytes, MemorySegment.ofAddress(address[0]).reinterpret(bytes));
    }

    public String label() {
        return label;
    }

    public long bytes() {
        return bytes;
    }

    public MemorySegment segment() {
        if (segment == null) {
            throw new IllegalStateException("pinned buffer '" + label + "' is closed");
        }
        return segment;
    }

    @Override
    public void close() {
        if (segment != null) {
            long freed = segment.address();
            segment = null;
            driver.check("cuMemFreeHost", driver.api().cuMemFreeHost(freed), label);
        }
    }
}
