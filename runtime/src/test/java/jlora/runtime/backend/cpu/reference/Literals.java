package jlora.runtime.backend.cpu.reference;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;

/** Dense tensors of given values on the host, and their comparison with literal numbers. */
final class Literals implements AutoCloseable {
    private final List<MemoryArena> arenas = new ArrayList<>();

    /** A tensor of zeros. */
    Tensor zeros(DType dtype, long rows, long cols) {
        Tensor tensor = Tensor.dense("literal", Storage.Role.WORKSPACE, dtype, rows, cols);
        MemoryArena arena = MemoryArena.host("literal", tensor.storage().bytes());
        arena.place(tensor.storage(), 0);
        arenas.add(arena);
        return tensor;
    }

    /** An f32 tensor with these values, row by row. */
    Tensor floats(long rows, double... values) {
        Tensor tensor = zeros(DType.F32, rows, values.length / rows);
        for (int i = 0; i < values.length; i++) {
            Elements.set(tensor, i / tensor.cols(), i % tensor.cols(), values[i]);
        }
        return tensor;
    }

    /** One row of integers. */
    Tensor ints(int... values) {
        Tensor tensor = zeros(DType.I32, 1, values.length);
        for (int i = 0; i < values.length; i++) {
            Elements.setInt(tensor, 0, i, values[i]);
        }
        return tensor;
    }

    /** Every element within an absolute tolerance. */
    static void assertValues(Tensor actual, double tolerance, double... expected) {
        assertEquals(expected.length, actual.elements());
        for (int i = 0; i < expected.length; i++) {
            double value = Elements.get(actual, i / actual.cols(), i % actual.cols());
            assertEquals(expected[i], value, tolerance, "element " + i);
        }
    }

    @Override
    public void close() {
        arenas.forEach(MemoryArena::close);
    }
}
