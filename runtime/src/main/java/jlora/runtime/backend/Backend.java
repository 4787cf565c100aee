package jlora.runtime.backend;

import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * A device that plans run on: its kernels, its memory, and the order of its work. Calls start work
 * in the order they are made; on a device of its own (a GPU) they return before it is done. All
 * calls come from the thread that opened the backend.
 */
public interface Backend extends AutoCloseable {
    /** What a user sees: processor or GPU, product library, threads. */
    String describe();

    Kernels kernels();

    /** Zeroed memory of this device. */
    MemoryArena allocate(String label, long bytes);

    /** Zeroed memory of the host that {@link Aside} copies from; page-locked for a GPU. */
    MemoryArena allocateHost(String label, long bytes);

    /** Work beside the kernels of this device. */
    Aside aside();

    /** Device memory that the backend itself holds as long as it is open. */
    long reservedBytes();

    /**
     * Device memory that was taken since the backend was opened, by the driver's count; 0 where
     * nobody counts.
     */
    long usedBytes();

    /**
     * Bytes of the last cache between this device's memory and its cores, all of its instances
     * together; 0 where nobody tells.
     */
    long cacheBytes();

    /**
     * Copies dense host bytes into a tensor's elements, row by row. The host memory may be used
     * again at once; whatever starts later sees the new elements.
     */
    void upload(Tensor to, MemorySegment from);

    /** Fills tensors with what host threads produce, several of them at a time. */
    void upload(List<HostRows> sources);

    /** Copies a tensor's elements into dense host bytes, row by row, and waits for it. */
    void download(MemorySegment to, Tensor from);

    /** Copies one dense tensor into another of the same bytes, within the device. */
    void copy(Tensor to, Tensor from);

    /** What {@link #copy} asks for. */
    static void requireDense(Tensor to, Tensor from) {
        boolean same = to.elements() == from.elements() && to.dtype() == from.dtype();
        if (!same || !to.isDense() || !from.isDense()) {
            throw new IllegalArgumentException(
                    "copy of " + from.describe() + " to " + to.describe());
        }
    }

    /** Starts to copy a small tensor to the host, as it is at this point of the work. */
    Readback readLater(Tensor from);

    /**
     * Work that will run many times over the same tensors. Only kernels may be called in it: what
     * differs from run to run lies in the tensors.
     */
    Routine routine(String label, Runnable work);

    /** True when calls return before their work is done. */
    boolean asynchronous();

    /** Returns when everything started so far is done. */
    void synchronize();

    /** Milliseconds that the work takes on this device; waits for it. */
    double milliseconds(Runnable work);

    @Override
    void close();
}
