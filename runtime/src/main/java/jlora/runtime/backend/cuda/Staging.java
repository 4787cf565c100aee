package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaEvent;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.PinnedBuffer;
import jlora.runtime.Resources;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * Pinned host memory between Java and the device: a ring of slots, each free again when the stream
 * has passed the copies that use it. Many small copies share a slot, so that they wait for nothing.
 */
final class Staging implements AutoCloseable {
    /** The most that one copy takes. Enough to keep the bus busy while the next one is filled. */
    static final long SLOT_BYTES = 4L << 20;

    private static final int SLOTS = 12;

    /** Copies within a slot start at multiples of this. */
    private static final long ALIGNMENT = 256;

    /** A piece of pinned memory that all copies so far have left. */
    final class Slot {
        private final MemorySegment memory;
        private final CudaEvent passed;
        private long used;

        private Slot(MemorySegment memory, CudaEvent passed) {
            this.memory = memory;
            this.passed = passed;
        }

        MemorySegment memory() {
            return memory;
        }

        /** To be called when the copies that use this slot have been started. */
        void copied() {
            stream.record(passed);
        }

        /** Waits for the copies that were started before {@link #copied}. */
        void await() {
            passed.synchronize();
        }
    }

    private final CudaStream stream;
    private final Resources owned = new Resources();
    private final List<Slot> ring = new ArrayList<>();
    private int current;
    private boolean shared;

    Staging(CudaContext context, CudaStream stream) {
        this.stream = stream;
        try {
            PinnedBuffer pinned = owned.own(context.allocatePinned("staging", SLOTS * SLOT_BYTES));
            for (int i = 0; i < SLOTS; i++) {
                CudaEvent passed = owned.own(context.event("staging slot " + i));
                ring.add(new Slot(pinned.segment().asSlice(i * SLOT_BYTES, SLOT_BYTES), passed));
            }
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, owned);
            throw e;
        }
    }

    /** Slots that may be in use at one time. */
    int slots() {
        return SLOTS;
    }

    /** A whole slot for the caller alone; waits until its last copies have passed. */
    Slot next() {
        if (shared) {
            shared = false;
            ring.get(current).copied();
        }
        current = (current + 1) % SLOTS;
        Slot slot = ring.get(current);
        slot.await();
        slot.used = 0;
        return slot;
    }

    /**
     * Memory for a copy that the caller starts before anything else is asked of this ring.
     *
     * @param bytes at most {@link #SLOT_BYTES}
     */
    MemorySegment take(long bytes) {
        if (!shared || ring.get(current).used + bytes > SLOT_BYTES) {
            next();
            shared = true;
        }
        Slot slot = ring.get(current);
        MemorySegment piece = slot.memory.asSlice(slot.used, bytes);
        slot.used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        return piece;
    }

    @Override
    public void close() {
        owned.close();
    }
}
