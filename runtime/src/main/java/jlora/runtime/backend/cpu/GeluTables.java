package jlora.runtime.backend.cpu;

import jlora.runtime.kernel.GeluKernel.Form;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * GELU of every bf16 number, and its slope there, by the bits of the number: what {@link CpuGelu}
 * computes in f32, once. An activation's numbers lie within a few kilobytes of a table, so a look
 * takes less time than an exponential and a division.
 *
 * @param values as bf16
 * @param slopes in f32, since they are multiplied before anything is rounded
 */
record GeluTables(short[] values, float[] slopes) {
    private static final int NUMBERS = 1 << 16;
    private static final int MASK = NUMBERS - 1;

    /** Each form's tables are made when they are first asked for. */
    static GeluTables of(Form form) {
        return switch (form) {
            case ERF -> Erf.TABLES;
            case TANH -> Tanh.TABLES;
        };
    }

    private static final class Erf {
        static final GeluTables TABLES = make(Form.ERF);
    }

    private static final class Tanh {
        static final GeluTables TABLES = make(Form.TANH);
    }

    private static GeluTables make(Form form) {
        float[] a = new float[NUMBERS];
        for (int i = 0; i < NUMBERS; i++) {
            a[i] = Float.intBitsToFloat(i << 16);
        }
        float[] gate = new float[NUMBERS];
        float[] slopes = new float[NUMBERS];
        Arrays.fill(slopes, 1f);
        CpuGelu.slopes(slopes, a.clone(), gate, new float[NUMBERS], NUMBERS, form);
        CpuGelu.values(a, gate, NUMBERS, form);
        short[] values = new short[NUMBERS];
        for (int i = 0; i < NUMBERS; i++) {
            values[i] = Rows.roundToBf16(a[i]);
        }
        return new GeluTables(values, slopes);
    }

    /**
     * The table's numbers for {@code count} bf16 that lie one behind the other; offsets in bytes.
     */
    static void look(
            MemorySegment to,
            long target,
            short[] table,
            MemorySegment from,
            long source,
            int count) {
        for (int i = 0; i < count; i++) {
            short bits = from.get(ValueLayout.JAVA_SHORT_UNALIGNED, source + 2L * i);
            to.set(ValueLayout.JAVA_SHORT_UNALIGNED, target + 2L * i, table[bits & MASK]);
        }
    }

    /** The same into an array, with zeros up to whole vectors. */
    static void look(float[] to, float[] table, MemorySegment from, long source, int count) {
        for (int i = 0; i < count; i++) {
            short bits = from.get(ValueLayout.JAVA_SHORT_UNALIGNED, source + 2L * i);
            to[i] = table[bits & MASK];
        }
        Arrays.fill(to, count, VectorMath.padded(count), 0f);
    }
}
