package jlora.runtime.backend.cuda;

import jlora.cu.driver.DeviceBuffer;
import jlora.runtime.Resources;
import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;

/**
 * The records of all matrices of a merge, in device memory: a header per warp of each tile, and the
 * pools that headers point into (see merge.cu).
 */
final class CudaCorrections implements Corrections {
    /**
     * {@code merge::Stats}, in longs: bytes, corrected weights, records by form (list, codes,
     * copy).
     */
    static final int COUNTS = 5;

    private static final int TILE_ROWS = 64;
    private static final int TILE_ROW_BYTES = 512;

    /** Warps of a tile, each with a record and a header of 8 bytes. */
    private static final int WARPS = 8;

    /** A copy is the largest form. */
    private static final long MOST_RECORD_BYTES = 4096;

    /** Marks tiles that are not merged yet. */
    private static final byte OPEN = (byte) 0xFF;

    private final CudaKernels kernels;
    private final List<DeviceBuffer> buffers = new ArrayList<>();
    private final long[] headers;
    private final long[] counts;
    private long pool;
    private long poolBytes;

    /**
     * Headers that mark everything as open, and a pool.
     *
     * @param bytes wanted for the pool; it gets no more than the records can take
     */
    CudaCorrections(CudaKernels kernels, List<MergeKernel.Part> parts, long bytes) {
        this.kernels = kernels;
        this.headers = new long[parts.size() + 1];
        this.counts = new long[parts.size() * COUNTS];
        for (int i = 0; i < parts.size(); i++) {
            headers[i + 1] = headers[i] + tiles(parts.get(i).w()) * WARPS * Long.BYTES;
        }
        long headerBytes = MemoryArena.align(headers[parts.size()]);
        long most = headers[parts.size()] / Long.BYTES * MOST_RECORD_BYTES;
        poolBytes = Math.min(bytes, most);
        DeviceBuffer buffer = allocate(Math.max(1, headerBytes + poolBytes));
        for (int i = 0; i < headers.length; i++) {
            headers[i] += buffer.address();
        }
        pool = buffer.address() + headerBytes;
        if (headerBytes > 0) {
            try {
                kernels.stream().fill(buffer.address(), OPEN, headerBytes);
            } catch (RuntimeException | Error e) {
                Resources.closeAfter(e, this);
                throw e;
            }
        }
    }

    /** How many tiles a matrix has: 64 rows and 512 bytes of columns each. */
    static long tiles(Tensor w) {
        long across = Math.ceilDiv(w.cols() * w.dtype().bytes(), TILE_ROW_BYTES);
        return Math.ceilDiv(w.rows(), TILE_ROWS) * across;
    }

    private DeviceBuffer allocate(long bytes) {
        DeviceBuffer buffer = kernels.context().allocate("merge corrections", bytes);
        buffers.add(buffer);
        return buffer;
    }

    /** Address of a part's headers. */
    long headers(int part) {
        return headers[part];
    }

    /** Address of the newest pool. */
    long pool() {
        return pool;
    }

    long poolBytes() {
        return poolBytes;
    }

    /** Another pool, for tiles that found the last one full. */
    void addPool(long bytes) {
        pool = allocate(bytes).address();
        poolBytes = bytes;
    }

    /** Adds what a pass counted. */
    void count(long[] more) {
        for (int i = 0; i < counts.length; i++) {
            counts[i] += more[i];
        }
    }

    @Override
    public List<Matrix> matrices() {
        List<Matrix> matrices = new ArrayList<>();
        for (int i = 0; i + 1 < headers.length; i++) {
            int at = i * COUNTS;
            long bytes = headers[i + 1] - headers[i] + counts[at];
            matrices.add(new Matrix(kind(at + 2), counts[at + 1], bytes));
        }
        return matrices;
    }

    /** The form of most records. */
    private Kind kind(int forms) {
        Kind[] kinds = {Kind.SPARSE, Kind.CODES, Kind.COPY};
        Kind most = Kind.NONE;
        long records = 0;
        for (int i = 0; i < kinds.length; i++) {
            if (counts[forms + i] > records) {
                records = counts[forms + i];
                most = kinds[i];
            }
        }
        return most;
    }

    @Override
    public long bytes() {
        return buffers.stream().mapToLong(DeviceBuffer::bytes).sum();
    }

    @Override
    public void close() {
        try (Resources owned = new Resources()) {
            buffers.forEach(owned::own);
        }
    }
}
