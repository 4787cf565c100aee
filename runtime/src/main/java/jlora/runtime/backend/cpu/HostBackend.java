package jlora.runtime.backend.cpu;

import jlora.runtime.backend.Aside;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.HostRows;
import jlora.runtime.backend.Readback;
import jlora.runtime.backend.Routine;
import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.util.List;

/** A backend over host memory, whose work is done when a call returns. */
public abstract class HostBackend implements Backend {
    /** Bytes that a host thread produces at a time: enough that rows are worth a task. */
    private static final long PIECE_BYTES = 4L << 20;

    @Override
    public MemoryArena allocate(String label, long bytes) {
        return MemoryArena.host(label, bytes);
    }

    @Override
    public MemoryArena allocateHost(String label, long bytes) {
        return allocate(label, bytes);
    }

    /** Beside what? A call is done when it returns. */
    @Override
    public Aside aside() {
        return new Aside() {
            @Override
            public void startCopy(Tensor to, Tensor from) {
                copy(to, from);
            }

            @Override
            public void startDequantize(Tensor to, List<FourBitMatrix> from) {
                kernels().fourBit().dequantize(to, from);
            }

            @Override
            public void startTranspose(Fp8Matrix to, Fp8Matrix from) {
                kernels().fp8().transpose(to, from);
            }

            @Override
            public void await(Tensor to) {}
        };
    }

    @Override
    public long reservedBytes() {
        return 0;
    }

    @Override
    public long usedBytes() {
        return 0;
    }

    @Override
    public long cacheBytes() {
        return HostCaches.ofThisMachine().lastLevelBytes();
    }

    @Override
    public void copy(Tensor to, Tensor from) {
        Backend.requireDense(to, from);
        long bytes = from.elements() * from.dtype().bytes();
        copyBytes(
                to.segment().asSlice(to.byteOffset(0), bytes),
                from.segment().asSlice(from.byteOffset(0), bytes));
    }

    /** Bytes to bytes. */
    protected void copyBytes(MemorySegment to, MemorySegment from) {
        to.copyFrom(from);
    }

    @Override
    public void upload(Tensor to, MemorySegment from) {
        long rowBytes = to.cols() * to.dtype().bytes();
        for (long r = 0; r < to.rows(); r++) {
            MemorySegment.copy(from, r * rowBytes, to.segment(), to.byteOffset(r), rowBytes);
        }
    }

    @Override
    public void upload(List<HostRows> sources) {
        List<HostRows.Piece> pieces =
                sources.stream().flatMap(s -> s.pieces(PIECE_BYTES).stream()).toList();
        pieces.parallelStream().forEach(piece -> piece.write(piece.to()));
    }

    @Override
    public void download(MemorySegment to, Tensor from) {
        long rowBytes = from.cols() * from.dtype().bytes();
        for (long r = 0; r < from.rows(); r++) {
            MemorySegment.copy(from.segment(), from.byteOffset(r), to, r * rowBytes, rowBytes);
        }
    }

    @Override
    public Readback readLater(Tensor from) {
        if (from.dtype() != DType.F32) {
            throw new IllegalArgumentException("results are float32, not " + from.describe());
        }
        float[] values = new float[Math.toIntExact(from.elements())];
        download(MemorySegment.ofArray(values), from);
        return () -> values;
    }

    @Override
    public Routine routine(String label, Runnable work) {
        return new Routine() {
            @Override
            public void run() {
                work.run();
            }

            @Override
            public long nodes() {
                return 0;
            }

            @Override
            public void close() {}
        };
    }

    @Override
    public boolean asynchronous() {
        return false;
    }

    @Override
    public void synchronize() {}

    @Override
    public double milliseconds(Runnable work) {
        long start = System.nanoTime();
        work.run();
        return (System.nanoTime() - start) / 1e6;
    }
}
