package jlora.cu.cudnn;

import static jlora.cu.sys.CudnnConstants.CUDNN_TYPE_BACKEND_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_TYPE_BOOLEAN;
import static jlora.cu.sys.CudnnConstants.CUDNN_TYPE_CHAR;
import static jlora.cu.sys.CudnnConstants.CUDNN_TYPE_INT64;
import static jlora.cu.sys.CudnnConstants.CUDNN_TYPE_VOID_PTR;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;

/**
 * One object of the backend API: attributes are set, then it is finished and read-only. Closing it
 * twice is fine.
 */
final class Descriptor implements AutoCloseable {
    private final Cudnn cudnn;
    private final String label;
    private long handle;

    private Descriptor(Cudnn cudnn, String label, long handle) {
        this.cudnn = cudnn;
        this.label = label;
        this.handle = handle;
    }

    /**
     * @param type a {@code CUDNN_BACKEND_..._DESCRIPTOR}
     * @param label what it stands for, for errors
     */
    static Descriptor create(Cudnn cudnn, int type, String label) {
        long[] handle = new long[1];
        cudnn.check(
                "cudnnBackendCreateDescriptor",
                cudnn.sys().cudnnBackendCreateDescriptor(type, handle),
                label);
        return new Descriptor(cudnn, label, handle[0]);
    }

    String label() {
        return label;
    }

    long handle() {
        if (handle == 0) {
            throw new IllegalStateException("cuDNN descriptor '" + label + "' is closed");
        }
        return handle;
    }

    /** An enum value of the header; {@code type} says of which enum. */
    Descriptor set(int attribute, int type, int value) {
        try (Arena arena = Arena.ofConfined()) {
            return set(attribute, type, 1, arena.allocateFrom(ValueLayout.JAVA_INT, value));
        }
    }

    Descriptor set(int attribute, boolean value) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment flag = arena.allocateFrom(ValueLayout.JAVA_BYTE, (byte) (value ? 1 : 0));
            return set(attribute, CUDNN_TYPE_BOOLEAN, 1, flag);
        }
    }

    Descriptor set(int attribute, long... values) {
        return longs(attribute, CUDNN_TYPE_INT64, values);
    }

    Descriptor set(int attribute, Descriptor... values) {
        long[] handles = new long[values.length];
        for (int i = 0; i < values.length; i++) {
            handles[i] = values[i].handle();
        }
        return longs(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, handles);
    }

    /** Addresses, on the device or the host. */
    Descriptor setPointers(int attribute, long... addresses) {
        return longs(attribute, CUDNN_TYPE_VOID_PTR, addresses);
    }

    Descriptor set(int attribute, String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment chars = arena.allocateFrom(ValueLayout.JAVA_BYTE, bytes);
            return set(attribute, CUDNN_TYPE_CHAR, bytes.length, chars);
        }
    }

    /** Values of 8 bytes of any type. */
    Descriptor longs(int attribute, int type, long... values) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment segment = arena.allocateFrom(ValueLayout.JAVA_LONG, values);
            return set(attribute, type, values.length, segment);
        }
    }

    private Descriptor set(int attribute, int type, long count, MemorySegment values) {
        cudnn.check(
                "cudnnBackendSetAttribute",
                cudnn.sys().cudnnBackendSetAttribute(handle(), attribute, type, count, values),
                label + ", attribute " + attribute);
        return this;
    }

    /** How many elements the attribute has. */
    int count(int attribute, int type) {
        return get(attribute, type, 0, MemorySegment.NULL);
    }

    long getLong(int attribute) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment value = arena.allocate(ValueLayout.JAVA_LONG);
            get(attribute, CUDNN_TYPE_INT64, 1, value);
            return value.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    String getText(int attribute) {
        int length = count(attribute, CUDNN_TYPE_CHAR);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment chars = arena.allocate(length + 1L);
            get(attribute, CUDNN_TYPE_CHAR, length, chars);
            return chars.getString(0);
        }
    }

    /** Copies the attribute's descriptors into ones made for that. */
    int getInto(int attribute, Descriptor... targets) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment handles = arena.allocate(ValueLayout.JAVA_LONG, targets.length);
            for (int i = 0; i < targets.length; i++) {
                handles.setAtIndex(ValueLayout.JAVA_LONG, i, targets[i].handle());
            }
            return get(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, targets.length, handles);
        }
    }

    private int get(int attribute, int type, long requested, MemorySegment values) {
        long[] count = new long[1];
        cudnn.check(
                "cudnnBackendGetAttribute",
                cudnn.sys()
                        .cudnnBackendGetAttribute(
                                handle(), attribute, type, requested, count, values),
                label + ", attribute " + attribute);
        return Math.toIntExact(count[0]);
    }

    Descriptor finish() {
        int status = tryFinish();
        cudnn.check("cudnnBackendFinalize", status, label);
        return this;
    }

    /** The raw status: an engine may refuse, and another take its place. */
    int tryFinish() {
        return cudnn.sys().cudnnBackendFinalize(handle());
    }

    @Override
    public void close() {
        if (handle != 0) {
            long destroyed = handle;
            handle = 0;
            cudnn.check(
                    "cudnnBackendDestroyDescriptor",
                    cudnn.sys().cudnnBackendDestroyDescriptor(destroyed),
                    label);
        }
    }
}
