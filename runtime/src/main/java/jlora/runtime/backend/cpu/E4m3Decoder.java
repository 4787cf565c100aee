package jlora.runtime.backend.cpu;

import static jlora.runtime.backend.cpu.VectorMath.FLOATS;
import static jlora.runtime.backend.cpu.VectorMath.LANES;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.tensor.E4m3;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Stretches of rows of an FP8 matrix as f32: code · scale, rounded. One thread's own. */
final class E4m3Decoder {
    private static final float[] VALUES = new float[256];

    static {
        for (int code = 0; code < VALUES.length; code++) {
            VALUES[code] = E4m3.value((byte) code);
        }
    }

    private final byte[] codes;
    private final float[] values;

    /**
     * @param length of a stretch at most: whole blocks of scales
     */
    E4m3Decoder(int length) {
        codes = new byte[length];
        values = new float[VectorMath.padded(length)];
    }

    /** What was decoded last; zeros behind it, up to a whole vector. */
    float[] values() {
        return values;
    }

    /**
     * Decodes {@code count} elements of a row.
     *
     * @param col a multiple of {@link Fp8Matrix#BLOCK}
     */
    void decode(Fp8Matrix from, long row, long col, int count) {
        MemorySegment.copy(
                from.codes().segment(),
                ValueLayout.JAVA_BYTE,
                from.codes().byteOffset(row) + col,
                codes,
                0,
                count);
        for (int i = 0; i < count; i++) {
            values[i] = VALUES[codes[i] & 0xFF];
        }
        for (int i = count; i < VectorMath.padded(count); i++) {
            values[i] = 0;
        }
        switch (from.scaling()) {
            case NONE -> {}
            case ROW -> scale(0, count, Rows.f32(scales(from), 0, row));
            case PIECE, BLOCK -> scaleBlocks(from, row, col, count);
        }
    }

    private void scaleBlocks(Fp8Matrix from, long row, long col, int count) {
        for (int at = 0; at < count; at += Fp8Matrix.BLOCK) {
            long block = (col + at) / Fp8Matrix.BLOCK;
            float scale =
                    from.scaling() == Fp8Matrix.Scaling.PIECE
                            ? Rows.f32(scales(from), block, row)
                            : Rows.f32(scales(from), row / Fp8Matrix.BLOCK, block);
            scale(at, Math.min(Fp8Matrix.BLOCK, count - at), scale);
        }
    }

    private static Tensor scales(Fp8Matrix matrix) {
        return matrix.scales().orElseThrow();
    }

    private void scale(int at, int count, float factor) {
        for (int i = at; i < at + count; i += LANES) {
            FloatVector.fromArray(FLOATS, values, i).mul(factor).intoArray(values, i);
        }
    }
}
