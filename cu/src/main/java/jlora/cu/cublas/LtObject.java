package jlora.cu.cublas;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A descriptor that cuBLASLt keeps for its caller: a handle, and attributes that are set. */
abstract sealed class LtObject implements AutoCloseable
        permits MatmulDescriptor, MatrixLayout, MatmulPreference {
    final CublasLt lt;
    private final String type;
    private long handle;

    /**
     * @param type what the names of its functions begin with
     */
    LtObject(CublasLt lt, String type, long handle) {
        this.lt = lt;
        this.type = type;
        this.handle = handle;
    }

    long handle() {
        if (handle == 0) {
            throw new IllegalStateException("a descriptor of " + type + " is closed");
        }
        return handle;
    }

    /** An attribute of one byte. */
    final void set(int attribute, byte value) {
        try (Arena arena = Arena.ofConfined()) {
            set(attribute, arena.allocateFrom(ValueLayout.JAVA_BYTE, value));
        }
    }

    /** An attribute of 32 bits. */
    final void set(int attribute, int value) {
        try (Arena arena = Arena.ofConfined()) {
            set(attribute, arena.allocateFrom(ValueLayout.JAVA_INT, value));
        }
    }

    /** An attribute of 64 bits, or a pointer. */
    final void set(int attribute, long value) {
        try (Arena arena = Arena.ofConfined()) {
            set(attribute, arena.allocateFrom(ValueLayout.JAVA_LONG, value));
        }
    }

    private void set(int attribute, MemorySegment value) {
        lt.check(
                type + "SetAttribute",
                setAttribute(handle(), attribute, value),
                () -> "attribute " + attribute + " of " + value.byteSize() + " bytes");
    }

    abstract int setAttribute(long object, int attribute, MemorySegment value);

    abstract int destroy(long object);

    @Override
    public final void close() {
        if (handle != 0) {
            long destroyed = handle;
            handle = 0;
            lt.check(type + "Destroy", destroy(destroyed), "a descriptor of a product");
        }
    }
}
