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

    /** Bytes of structures, all of a launch together; the driver's own limit for all arguments. */
    private static final int STRUCTURES = 4096;

    private final MemorySegment values;
    private final MemorySegment pointers;
    private final int[] sizes = new int[MOST];
    private int count;
    private long structures;

    KernelArgs(Arena arena) {
        values = arena.allocate((long) MOST * SLOT + STRUCTURES, SLOT);
        pointers = arena.allocate(ValueLayout.ADDRESS, MOST);
    }

    KernelArgs reset() {
        count = 0;
        structures = 0;
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

    /** A plain structure by value, as the kernel's compiler lays it out. */
    public KernelArgs structure(MemorySegment bytes) {
        long size = bytes.byteSize();
        if (structures + size > STRUCTURES) {
            throw new IllegalStateException(
                    size + " more bytes of structures, there are " + STRUCTURES);
        }
        long at = (long) MOST * SLOT + structures;
        MemorySegment.copy(bytes, 0, values, at, size);
        structures += (size + SLOT - 1) / SLOT * SLOT;
        add(Math.toIntExact(size), at);
        return this;
    }

    private long slot(int bytes) {
        long at = (long) count * SLOT;
        add(bytes, at);
        return at;
    }

    private void add(int bytes, long at) {
        if (count == MOST) {
            throw new IllegalStateException("more than " + MOST + " kernel arguments");
        }
        sizes[count] = bytes;
        pointers.setAtIndex(ValueLayout.ADDRESS, count, values.asSlice(at));
        count++;
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
