package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Rows of attention scores in memory: softmax and its gradient over the columns a query sees, zeros
 * elsewhere. A row has room for whole vectors: {@code base} is its byte offset, {@code start} to
 * {@code end} its visible columns and {@code width} the columns that products read. Masks are rows
 * of 0 and −∞ that are added to the scores, or null.
 */
final class AttentionScores {
    private static final VectorSpecies<Float> FLOATS = VectorMath.FLOATS;
    private static final int LANES = VectorMath.LANES;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    private AttentionScores() {}

    /**
     * Maximum and sum of exponentials of one row; a row that sees nothing has the maximum −∞ and
     * the sum 0.
     */
    record Softmax(float max, float sum) {
        float logSumExp() {
            return sum == 0 ? Float.NEGATIVE_INFINITY : (float) (max + Math.log(sum));
        }

        float inverse() {
            return sum == 0 ? 0f : 1f / sum;
        }
    }

    /** s = e^(s − max), not yet divided by the sum. */
    static Softmax softmax(
            MemorySegment s, long base, int start, int end, int width, MemorySegment mask) {
        int first = start / LANES * LANES;
        int last = VectorMath.padded(end);
        hide(s, base, start, end, VectorMath.MINUS_INFINITY);
        if (mask != null) {
            addMask(s, base, first, last, mask);
        }
        float max = max(s, base, first, last);
        if (max == Float.NEGATIVE_INFINITY) {
            clear(s, base, 0, VectorMath.padded(width));
            return new Softmax(max, 0f);
        }
        float sum = exponentials(s, base, first, last, max);
        clear(s, base, 0, first);
        clear(s, base, last, VectorMath.padded(width));
        return new Softmax(max, sum);
    }

    /**
     * From scores s and the probabilities' gradients d: s = p = e^(s − lse), d = p·(d − delta), the
     * scores' gradients.
     */
    static void gradient(
            MemorySegment s,
            MemorySegment d,
            long base,
            int start,
            int end,
            int width,
            MemorySegment mask,
            float lse,
            float delta) {
        int room = VectorMath.padded(width);
        if (lse == Float.NEGATIVE_INFINITY) {
            clear(s, base, 0, room);
            clear(d, base, 0, room);
            return;
        }
        int first = start / LANES * LANES;
        int last = VectorMath.padded(end);
        hide(s, base, start, end, VectorMath.MINUS_INFINITY);
        hide(d, base, start, end, VectorMath.ZERO);
        if (mask != null) {
            addMask(s, base, first, last, mask);
        }
        probabilities(s, d, base, first, last, lse, delta);
        clear(s, base, 0, first);
        clear(s, base, last, room);
        clear(d, base, 0, first);
        clear(d, base, last, room);
    }

    /** The product of row {@code r} of two matrices. */
    static float dot(Products.Operand a, Products.Operand b, int r, int size) {
        long atA = a.byteOffset() + 4 * a.leading() * r;
        long atB = b.byteOffset() + 4 * b.leading() * r;
        FloatVector sums = FloatVector.zero(FLOATS);
        int i = 0;
        for (; i <= size - LANES; i += LANES) {
            sums =
                    FloatVector.fromMemorySegment(FLOATS, a.segment(), atA + 4L * i, ORDER)
                            .fma(
                                    FloatVector.fromMemorySegment(
                                            FLOATS, b.segment(), atB + 4L * i, ORDER),
                                    sums);
        }
        float sum = LaneSums.sum(sums);
        for (; i < size; i++) {
            sum +=
                    a.segment().get(ValueLayout.JAVA_FLOAT, atA + 4L * i)
                            * b.segment().get(ValueLayout.JAVA_FLOAT, atB + 4L * i);
        }
        return sum;
    }

    private static void addMask(
            MemorySegment s, long base, int first, int last, MemorySegment mask) {
        for (int i = first; i < last; i += LANES) {
            FloatVector.fromMemorySegment(FLOATS, s, base + 4L * i, ORDER)
                    .add(FloatVector.fromMemorySegment(FLOATS, mask, 0 + 4L * i, ORDER))
                    .intoMemorySegment(s, base + 4L * i, ORDER);
        }
    }

    /** The largest score; NaN takes no part, and shows in the sum. */
    private static float max(MemorySegment s, long base, int first, int last) {
        FloatVector max = VectorMath.MINUS_INFINITY;
        for (int i = first; i < last; i += LANES) {
            FloatVector x = FloatVector.fromMemorySegment(FLOATS, s, base + 4L * i, ORDER);
            max = max.blend(x, x.compare(VectorOperators.GT, max));
        }
        return max.reduceLanes(VectorOperators.MAX);
    }

    private static float exponentials(MemorySegment s, long base, int first, int last, float max) {
        FloatVector top = VectorMath.constant(max);
        FloatVector sum = FloatVector.zero(FLOATS);
        for (int i = first; i < last; i += LANES) {
            FloatVector p =
                    VectorMath.expBounded(
                            FloatVector.fromMemorySegment(FLOATS, s, base + 4L * i, ORDER)
                                    .sub(top));
            p.intoMemorySegment(s, base + 4L * i, ORDER);
            sum = sum.add(p);
        }
        return LaneSums.sum(sum);
    }

    private static void probabilities(
            MemorySegment s,
            MemorySegment d,
            long base,
            int first,
            int last,
            float lse,
            float delta) {
        FloatVector top = VectorMath.constant(lse);
        FloatVector shift = VectorMath.constant(delta);
        for (int i = first; i < last; i += LANES) {
            FloatVector p =
                    VectorMath.expBounded(
                            FloatVector.fromMemorySegment(FLOATS, s, base + 4L * i, ORDER)
                                    .sub(top));
            p.intoMemorySegment(s, base + 4L * i, ORDER);
            FloatVector.fromMemorySegment(FLOATS, d, base + 4L * i, ORDER)
                    .sub(shift)
                    .mul(p)
                    .intoMemorySegment(d, base + 4L * i, ORDER);
        }
    }

    /** Puts a value in the invisible columns of the vectors that hold visible ones. */
    private static void hide(MemorySegment s, long base, int start, int end, FloatVector value) {
        int first = start / LANES * LANES;
        int last = end / LANES * LANES;
        if (first < start) {
            FloatVector.fromMemorySegment(FLOATS, s, base + 4L * first, ORDER)
                    .blend(value, FLOATS.indexInRange(0, start - first))
                    .intoMemorySegment(s, base + 4L * first, ORDER);
        }
        if (last < end) {
            value.blend(
                            FloatVector.fromMemorySegment(FLOATS, s, base + 4L * last, ORDER),
                            FLOATS.indexInRange(0, end - last))
                    .intoMemorySegment(s, base + 4L * last, ORDER);
        }
    }

    /** Zeroes whole vectors. */
    private static void clear(MemorySegment s, long base, int from, int end) {
        for (int i = from; i < end; i += LANES) {
            VectorMath.ZERO.intoMemorySegment(s, base + 4L * i, ORDER);
        }
    }
}
