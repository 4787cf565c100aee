package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaEvent;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.PinnedBuffer;
import jlora.runtime.Resources;
import jlora.runtime.backend.Readback;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.Deque;

/** Results that the device writes to pinned memory while Java goes on. */
final class CudaReadbacks implements AutoCloseable {
    /** The losses of a step's micro-batches on all workers take the most. */
    private static final long SLOT_BYTES = 64L << 10;

    private record Slot(PinnedBuffer memory, CudaEvent there) {}

    private final CudaContext context;
    private final CudaStream stream;
    private final Resources owned = new Resources();
    private final Deque<Slot> free = new ArrayDeque<>();

    CudaReadbacks(CudaContext context, CudaStream stream) {
        this.context = context;
        this.stream = stream;
    }

    Readback start(Tensor from) {
        if (from.dtype() != DType.F32 || !from.isDense()) {
            throw new IllegalArgumentException("results are dense float32, not " + from);
        }
        int count = Math.toIntExact(from.elements());
        if (count * (long) Float.BYTES > SLOT_BYTES) {
            throw new IllegalArgumentException(
                    from + " is larger than results are; " + SLOT_BYTES + " bytes is the most");
        }
        Slot slot = free.isEmpty() ? make() : free.pop();
        stream.copyToHost(
                slot.memory.segment().address(), from.address(), count * (long) Float.BYTES);
        stream.record(slot.there);
        return () -> {
            slot.there.synchronize();
            float[] values =
                    slot.memory
                            .segment()
                            .asSlice(0, count * (long) Float.BYTES)
                            .toArray(ValueLayout.JAVA_FLOAT);
            free.push(slot);
            return values;
        };
    }

    private Slot make() {
        return new Slot(
                owned.own(context.allocatePinned("results", SLOT_BYTES)),
                owned.own(context.event("results")));
    }

    @Override
    public void close() {
        owned.close();
    }
}
