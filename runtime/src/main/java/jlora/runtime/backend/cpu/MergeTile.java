package jlora.runtime.backend.cpu;

import static jlora.runtime.backend.cpu.VectorMath.FLOATS;
import static jlora.runtime.backend.cpu.VectorMath.INTS;
import static jlora.runtime.backend.cpu.VectorMath.LANES;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.Arrays;

/**
 * The arithmetic of a merge on up to {@link MergeStripes#COLS} columns of one row, and the memory
 * for it: one thread's own.
 */
final class MergeTile {
    private static final int WIDTH = MergeStripes.COLS;
    private static final int INFINITE = 0x7f800000;

    private final boolean bf16;
    private final int rank;
    private final float[] a;
    private final float[] b;
    private final float[] delta = new float[WIDTH];

    /** The row's weights: before the merge when merging, merged ones when unmerging. */
    final float[] weights = new float[WIDTH];

    /** round(weights + delta). */
    final float[] merged = new float[WIDTH];

    /** round(merged − delta), or round(weights − delta) when unmerging. */
    final float[] back = new float[WIDTH];

    /** Columns, ascending, where {@link #back} is not what {@link #weights} was. */
    final int[] differing = new int[WIDTH];

    MergeTile(DType dtype, int rank) {
        this.bf16 = dtype == DType.BF16;
        this.rank = rank;
        this.a = new float[rank * WIDTH];
        this.b = new float[VectorMath.padded(rank)];
    }

    /** Widens columns of A; what lies behind them is zero. */
    void load(Tensor from, long col, int count) {
        for (int k = 0; k < rank; k++) {
            Rows.load(a, k * WIDTH, from, k, col, count);
            Arrays.fill(a, k * WIDTH + count, (k + 1) * WIDTH, 0f);
        }
    }

    /** Adds the delta of a row to its weights and takes it off again; false for NaN or infinity. */
    boolean merge(Tensor w, Tensor factor, long row, long col, int count) {
        delta(factor, row, count);
        Rows.load(weights, 0, w, row, col, count);
        int padded = VectorMath.padded(count);
        return (bf16 ? mergeBf16(padded) : mergeF32(padded)) < INFINITE;
    }

    /** Takes the delta of a row off its merged weights. */
    void unmerge(Tensor w, Tensor factor, long row, long col, int count) {
        delta(factor, row, count);
        Rows.load(weights, 0, w, row, col, count);
        int padded = VectorMath.padded(count);
        if (bf16) {
            subtractBf16(padded);
        } else {
            subtractF32(padded);
        }
    }

    /** Fills {@link #differing}; returns how many there are. */
    int differing(int count) {
        int found = 0;
        for (int i = 0; i < count; i += LANES) {
            IntVector was = FloatVector.fromArray(FLOATS, weights, i).reinterpretAsInts();
            IntVector is = FloatVector.fromArray(FLOATS, back, i).reinterpretAsInts();
            long lanes = was.compare(VectorOperators.NE, is).toLong();
            for (; lanes != 0; lanes &= lanes - 1) {
                int column = i + Long.numberOfTrailingZeros(lanes);
                if (column < count) {
                    differing[found++] = column;
                }
            }
        }
        return found;
    }

    /** Four vectors at a time, each a sum of its own in ascending k. */
    private void delta(Tensor factor, long row, int count) {
        Rows.load(b, 0, factor, row);
        for (int i = 0; i < count; i += 4 * LANES) {
            FloatVector s0 = FloatVector.zero(FLOATS);
            FloatVector s1 = s0;
            FloatVector s2 = s0;
            FloatVector s3 = s0;
            for (int k = 0, from = i; k < rank; k++, from += WIDTH) {
                FloatVector x = FloatVector.broadcast(FLOATS, b[k]);
                s0 = x.fma(FloatVector.fromArray(FLOATS, a, from), s0);
                s1 = x.fma(FloatVector.fromArray(FLOATS, a, from + LANES), s1);
                s2 = x.fma(FloatVector.fromArray(FLOATS, a, from + 2 * LANES), s2);
                s3 = x.fma(FloatVector.fromArray(FLOATS, a, from + 3 * LANES), s3);
            }
            s0.intoArray(delta, i);
            s1.intoArray(delta, i + LANES);
            s2.intoArray(delta, i + 2 * LANES);
            s3.intoArray(delta, i + 3 * LANES);
        }
    }

    /** Returns the largest magnitude of a result, as bits. */
    private int mergeF32(int padded) {
        IntVector largest = IntVector.zero(INTS);
        for (int i = 0; i < padded; i += LANES) {
            FloatVector d = FloatVector.fromArray(FLOATS, delta, i);
            FloatVector sum = FloatVector.fromArray(FLOATS, weights, i).add(d);
            largest = largest.max(sum.reinterpretAsInts().and(0x7fffffff));
            sum.intoArray(merged, i);
            sum.sub(d).intoArray(back, i);
        }
        return largest.reduceLanes(VectorOperators.MAX);
    }

    // A number is rounded to the nearest bf16, ties to even, by adding what carries into its upper
    // half, and cutting off the lower one.

    private int mergeBf16(int padded) {
        IntVector largest = IntVector.zero(INTS);
        for (int i = 0; i < padded; i += LANES) {
            FloatVector d = FloatVector.fromArray(FLOATS, delta, i);
            IntVector sum = FloatVector.fromArray(FLOATS, weights, i).add(d).reinterpretAsInts();
            IntVector odd = sum.lanewise(VectorOperators.LSHR, 16).and(1);
            IntVector stored = sum.add(odd).add(0x7fff).and(0xffff0000);
            // The sum too: the carry of rounding a NaN may leave a finite number.
            largest = largest.max(sum.and(0x7fffffff)).max(stored.and(0x7fffffff));
            stored.reinterpretAsFloats().intoArray(merged, i);
            IntVector rest = stored.reinterpretAsFloats().sub(d).reinterpretAsInts();
            odd = rest.lanewise(VectorOperators.LSHR, 16).and(1);
            rest.add(odd).add(0x7fff).and(0xffff0000).reinterpretAsFloats().intoArray(back, i);
        }
        return largest.reduceLanes(VectorOperators.MAX);
    }

    private void subtractF32(int padded) {
        for (int i = 0; i < padded; i += LANES) {
            FloatVector d = FloatVector.fromArray(FLOATS, delta, i);
            FloatVector.fromArray(FLOATS, weights, i).sub(d).intoArray(back, i);
        }
    }

    private void subtractBf16(int padded) {
        for (int i = 0; i < padded; i += LANES) {
            FloatVector d = FloatVector.fromArray(FLOATS, delta, i);
            IntVector rest = FloatVector.fromArray(FLOATS, weights, i).sub(d).reinterpretAsInts();
            IntVector odd = rest.lanewise(VectorOperators.LSHR, 16).and(1);
            rest.add(odd).add(0x7fff).and(0xffff0000).reinterpretAsFloats().intoArray(back, i);
        }
    }
}
