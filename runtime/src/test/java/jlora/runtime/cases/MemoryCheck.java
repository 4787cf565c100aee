package jlora.runtime.cases;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * Holds a backend's copies between host and device against their contract: memory is zero at first,
 * views are strided.
 */
public final class MemoryCheck {
    private static final int ROWS = 4;
    private static final int STRIDE = 7;

    private MemoryCheck() {}

    /** Throws an {@link AssertionError} that says what differs. */
    public static void check(Backend backend) {
        for (DType dtype : DType.values()) {
            check(backend, dtype);
        }
    }

    private static void check(Backend backend, DType dtype) {
        Tensor whole = Tensor.dense("whole", Storage.Role.WORKSPACE, dtype, ROWS, STRIDE);
        Tensor part = whole.rows(1, 2).columns(2, 3);
        int bytes = dtype.bytes();
        try (Arena host = Arena.ofConfined();
                MemoryArena memory = backend.allocate("memory check", 512)) {
            memory.place(whole.storage(), 256);
            byte[] expected = new byte[ROWS * STRIDE * bytes];
            equal(expected, download(backend, host, whole), "fresh memory");

            MemorySegment values = host.allocate(2L * 3 * bytes, 8);
            for (int i = 0; i < values.byteSize(); i++) {
                values.set(ValueLayout.JAVA_BYTE, i, (byte) (i + 1));
            }
            backend.upload(part, values);
            for (int i = 0; i < 2 * 3 * bytes; i++) {
                int row = i / (3 * bytes) + 1;
                expected[(row * STRIDE + 2) * bytes + i % (3 * bytes)] = (byte) (i + 1);
            }
            equal(expected, download(backend, host, whole), "after the upload of a view");
            equal(
                    values.toArray(ValueLayout.JAVA_BYTE),
                    download(backend, host, part),
                    "download of a view");
        }
    }

    private static byte[] download(Backend backend, Arena host, Tensor tensor) {
        MemorySegment to = host.allocate(tensor.elements() * tensor.dtype().bytes(), 8);
        backend.download(to, tensor);
        backend.synchronize();
        return to.toArray(ValueLayout.JAVA_BYTE);
    }

    private static void equal(byte[] expected, byte[] actual, String what) {
        if (!Arrays.equals(expected, actual)) {
            throw new AssertionError(
                    what
                            + ": "
                            + Arrays.toString(actual)
                            + ", expected "
                            + Arrays.toString(expected));
        }
    }
}
