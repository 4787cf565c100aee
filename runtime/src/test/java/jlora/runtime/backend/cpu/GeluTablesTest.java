package jlora.runtime.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.runtime.kernel.GeluKernel.Form;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.lang.foreign.ValueLayout;

/** GELU of bf16 by tables: for every number the bits that f32 gives when it is rounded. */
final class GeluTablesTest {
    private static final int ROWS = 64;
    private static final int COLS = 1024;
    private static final float GRADIENT = -0.7109375f; // a bf16 number

    @ParameterizedTest
    @EnumSource
    void everyNumber(Form form) {
        try (MemoryArena arena = MemoryArena.host("gelu", 16 * ROWS * COLS);
                CpuPool pool = new CpuPool(2)) {
            CpuGelu gelu = new CpuGelu(pool);
            Tensor x = place(arena, 0, DType.F32);
            Tensor narrowX = place(arena, 4 * ROWS * COLS, DType.BF16);
            Tensor out = place(arena, 6 * ROWS * COLS, DType.F32);
            Tensor narrowOut = place(arena, 10 * ROWS * COLS, DType.BF16);
            for (int i = 0; i < ROWS * COLS; i++) {
                x.segment().setAtIndex(ValueLayout.JAVA_INT, i, i << 16);
                narrowX.segment().setAtIndex(ValueLayout.JAVA_SHORT, i, (short) i);
            }
            gelu.forward(out, x, form);
            gelu.forward(narrowOut, narrowX, form);
            assertSame(out, narrowOut, form + "(x)");

            Tensor dOut = place(arena, 12 * ROWS * COLS, DType.F32);
            for (int i = 0; i < ROWS * COLS; i++) {
                dOut.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, GRADIENT);
            }
            gelu.backward(out, dOut, x, form);
            Tensor narrowDOut = place(arena, 12 * ROWS * COLS, DType.BF16);
            for (int i = 0; i < ROWS * COLS; i++) {
                short bits = Rows.roundToBf16(GRADIENT);
                narrowDOut.segment().setAtIndex(ValueLayout.JAVA_SHORT, i, bits);
            }
            gelu.backward(narrowOut, narrowDOut, narrowX, form);
            assertSame(out, narrowOut, form + "'(x)");
        }
    }

    private static Tensor place(MemoryArena arena, long offset, DType dtype) {
        Tensor t = Tensor.dense("t", Storage.Role.ACTIVATION, dtype, ROWS, COLS);
        arena.place(t.storage(), offset);
        return t;
    }

    private static void assertSame(Tensor expected, Tensor actual, String what) {
        for (int i = 0; i < ROWS * COLS; i++) {
            float value = expected.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
            short bits = actual.segment().getAtIndex(ValueLayout.JAVA_SHORT, i);
            int number = i;
            if (Float.isNaN(value)) {
                assertEquals(0x7F80, bits & 0x7F80, () -> what + " at " + number);
                assertEquals(true, (bits & 0x7F) != 0, () -> what + " at " + number);
            } else {
                assertEquals(Rows.roundToBf16(value), bits, () -> what + " at " + number);
            }
        }
    }
}
