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
        fill(s, base, first, start, Float.NEGATIVE_INFINITY);
        fill(s, base, end, last, Float.NEGATIVE_INFINITY);
        if (mask != null) {
            addMask(s, base, first, last, mask);
        }
        float max = max(s, base, first, last);
        if (max == Float.NEGATIVE_INFINITY) {
            fill(s, base, 0, width, 0f);
            return new Softmax(max, 0f);
        }
        float sum = exponentials(s, base, first, last, max);
        fill(s, base, 0, first, 0f);
        fill(s, base, last, width, 0f);
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
        if (lse == Float.NEGATIVE_INFINITY) {
            fill(s, base, 0, width, 0f);
            fill(d, base, 0, width, 0f);
            return;
        }
        int first = start / LANES * LANES;
        int last = VectorMath.padded(end);
        fill(s, base, first, start, Float.NEGATIVE_INFINITY);
        fill(s, base, end, last, Float.NEGATIVE_INFINITY);
        fill(d, base, first, start, 0f);
        fill(d, base, end, last, 0f);
        if (mask != null) {
            addMask(s, base, first, last, mask);
        }
        probabilities(s, d, base, first, last, lse, delta);
        fill(s, base, 0, first, 0f);
        fill(s, base, last, width, 0f);
        fill(d, base, 0, first, 0f);
        fill(d, base, last, width, 0f);
    }

    /** The product of row {@code r} of two matrices. */
    static float dot(Products.Operand a, Products.Operand b, int r, int size) {
        long atA = a.byteOffset() + 4 * a.leading() * r;
        long atB = b.byteOffset() + 4 * b.leading() * r;
        FloatVector sums = FloatVector.zero(FLOATS);
        int i = 0;
        for (; i <= size - LANES; i += LANES) {
            sums = at(a.segment(), atA, i).fma(at(b.segment(), atB, i), sums);
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
            at(s, base, i).add(at(mask, 0, i)).intoMemorySegment(s, base + 4L * i, ORDER);
        }
    }

    private static float max(MemorySegment s, long base, int first, int last) {
        FloatVector max = FloatVector.broadcast(FLOATS, Float.NEGATIVE_INFINITY);
        for (int i = first; i < last; i += LANES) {
            max = max.max(at(s, base, i));
        }
        return max.reduceLanes(VectorOperators.MAX);
    }

    private static float exponentials(MemorySegment s, long base, int first, int last, float max) {
        FloatVector sum = FloatVector.zero(FLOATS);
        for (int i = first; i < last; i += LANES) {
            FloatVector p = VectorMath.exp(at(s, base, i).sub(max));
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
        for (int i = first; i < last; i += LANES) {
            FloatVector p = VectorMath.exp(at(s, base, i).sub(lse));
            p.intoMemorySegment(s, base + 4L * i, ORDER);
            at(d, base, i).sub(delta).mul(p).intoMemorySegment(d, base + 4L * i, ORDER);
        }
    }

    private static void fill(MemorySegment s, long base, int from, int end, float value) {
        for (int i = from; i < end; i++) {
            s.set(ValueLayout.JAVA_FLOAT, base + 4L * i, value);
        }
    }

    private static FloatVector at(MemorySegment s, long base, int i) {
        return FloatVector.fromMemorySegment(FLOATS, s, base + 4L * i, ORDER);
    }
}
