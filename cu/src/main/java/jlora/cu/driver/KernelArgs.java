package jlora.cu.driver;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The arguments of one launch, in order. One instance per stream is filled anew for each launch:
 * the driver copies arguments before a launch call returns.
 */
public final class KernelArgs {
    /** More parameters than any kernel of ours takes. */
    private static final int MOST = 48;

    private static final int SLOT = 8;

    private final MemorySegment values;
    private final MemorySegment pointers;
    private final int[] sizes = new int[MOST];
    private int count;

    KernelArgs(Arena arena) {
        values = arena.allocate((long) MOST * SLOT, SLOT);
        pointers = arena.allocate(ValueLayout.ADDRESS, MOST);
        for (int i = 0; i < MOST; i++) {
            pointers.setAtIndex(ValueLayout.ADDRESS, i, values.asSlice((long) i * SLOT));
        }
    }

    KernelArgs reset() {
        count = 0;
        return this;
    }

    /** A device address, 0 for none. */
    public KernelArgs pointer(long address) {
        return i64(address);
    }

    public KernelArgs i64(long value) {
        values.set(ValueLayout.JAVA_LONG, slot(Long.BYTES), value);
        return this;
    }

    public KernelArgs i32(int value) {
        values.set(ValueLayout.JAVA_INT, slot(Integer.BYTES), value);
        return this;
    }

    public KernelArgs f32(float value) {
        values.set(ValueLayout.JAVA_FLOAT, slot(Float.BYTES), value);
        return this;
    }

    public KernelArgs f64(double value) {
        values.set(ValueLayout.JAVA_DOUBLE, slot(Double.BYTES), value);
        return this;
    }

    private long slot(int bytes) {
        if (count == MOST) {
            throw new IllegalStateException("more than " + MOST + " kernel arguments");
        }
        sizes[count] = bytes;
        return (long) count++ * SLOT;
    }

    int count() {
        return count;
    }

    int size(int index) {
        return sizes[index];
    }

    MemorySegment pointers() {
        return pointers;
    }
}
