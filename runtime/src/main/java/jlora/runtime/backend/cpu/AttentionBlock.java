package jlora.runtime.backend.cpu;

import jlora.runtime.backend.cpu.AttentionScratch.Slot;
import jlora.runtime.backend.cpu.Products.Operand;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.util.Optional;

/**
 * A block of consecutive query rows of one head and the keys that any of them sees, so that scores
 * and outputs are matrix products. Keys beyond the last query's position, or out of the first one's
 * window, are never touched.
 *
 * @param queryRow the first query's row in its tensor
 * @param position the first query's position in its sequence
 * @param rows number of queries
 * @param lowKey the first position that a query of the block sees; the last one is that of the last
 *     query
 */
record AttentionBlock(long queryRow, int position, int rows, int lowKey) {
    /**
     * Queries per block: enough for products at full speed, few enough to waste little above the
     * diagonal.
     */
    static final int ROWS = 64;

    /**
     * The block of a sequence's queries from the {@code index}-th on, where {@code past} positions
     * came before them.
     */
    static AttentionBlock of(long sequenceRow, int length, int past, int index, int window) {
        int from = index * ROWS;
        int position = past + from;
        int low = window == 0 ? 0 : Math.max(0, position - window + 1);
        return new AttentionBlock(sequenceRow + from, position, Math.min(ROWS, length - from), low);
    }

    /**
     * Keys up to which whole blocks are multiplied as bf16. Each number of keys is a shape that the
     * product library prepares once, for a millisecond, and has to keep; blocks come in multiples
     * of their rows, so that these are few. Rows of any length that end a sequence are not.
     */
    private static final int NARROW_KEYS = 2048;

    /**
     * Whether the products of this block are of bf16: then probabilities and gradients of scores
     * are rounded before they are multiplied.
     */
    boolean narrow(Products products, DType dtype) {
        return dtype == DType.BF16
                && rows == ROWS
                && keys() <= NARROW_KEYS
                && products.bf16IsFaster();
    }

    /** c = alpha·a·b (+ c), f32: of bf16 where the block is {@link #narrow}, else of f32. */
    static void multiply(
            Products products,
            boolean narrow,
            int m,
            int n,
            int k,
            float alpha,
            Operand a,
            Operand b,
            boolean accumulate,
            Operand c) {
        if (!narrow) {
            products.f32(m, n, k, alpha, a, b, accumulate ? 1f : 0f, c);
            return;
        }
        products.multiply(
                new Products.Product(
                        m,
                        n,
                        k,
                        alpha,
                        DType.BF16,
                        a,
                        b,
                        Optional.empty(),
                        accumulate,
                        DType.F32,
                        c,
                        true));
    }

    /** Row {@code r} of a block's f32 matrix, rounded into a bf16 one of the same rows. */
    void round(Operand to, Operand from, int r) {
        long element = (long) r * leading();
        Rows.narrow(to.segment(), 2 * element, from.segment(), 4 * element, leading());
    }

    /** Blocks of a sequence. */
    static int count(int length) {
        return (length + ROWS - 1) / ROWS;
    }

    /** Keys of the block. */
    int keys() {
        return position + rows - lowKey;
    }

    /** Columns of a row of scores in memory: the keys, rounded up to whole vectors. */
    int leading() {
        return VectorMath.padded(keys());
    }

    /** The first visible column of a query. */
    int start(int row, int window) {
        return window == 0 ? 0 : Math.max(0, position + row - window + 1 - lowKey);
    }

    /** The column behind the last visible one of a query. */
    int end(int row) {
        return position + row + 1 - lowKey;
    }

    /**
     * Attention of the block: stores its rows of {@code out}, and of {@code lse} unless that is
     * null.
     *
     * @param keys the block's keys, from {@link #lowKey} on, as f32; as they are when narrow
     * @param values the same of the values
     * @param narrow see {@link #narrow}
     * @param mask 0 or −∞ for each of these keys, or null
     */
    void forward(
            Products products,
            AttentionScratch scratch,
            AttentionShape shape,
            int head,
            Tensor out,
            Tensor lse,
            Tensor qkv,
            Operand keys,
            boolean narrow,
            Operand values,
            MemorySegment mask) {
        int size = shape.headDim();
        long col = (long) head * size;
        Operand scores = scratch.matrix(Slot.SCORES, ROWS, leading());
        Operand result = scratch.matrix(Slot.OUT, ROWS, size);
        Operand queries =
                narrow
                        ? AttentionScratch.inPlace(qkv, queryRow, col)
                        : scratch.read(Slot.QUERIES, qkv, queryRow, rows, col, size);
        float scale = shape.scale();
        Operand keysT = transposed(keys);
        multiply(products, narrow, rows, keys(), size, scale, queries, keysT, false, scores);
        Operand rounded = narrow ? scratch.narrow(Slot.NARROW_SCORES, ROWS, leading()) : scores;
        float[] inverse = new float[rows];
        for (int r = 0; r < rows; r++) {
            AttentionScores.Softmax softmax =
                    AttentionScores.softmax(
                            scores.segment(),
                            4L * r * leading(),
                            start(r, shape.window()),
                            end(r),
                            keys(),
                            mask);
            inverse[r] = softmax.inverse();
            if (narrow) {
                round(rounded, scores, r);
            }
            if (lse != null) {
                Rows.setF32(lse, queryRow + r, head, softmax.logSumExp());
            }
        }
        multiply(products, narrow, rows, size, keys(), 1f, rounded, values, false, result);
        scratch.write(out, queryRow, rows, col, size, result, inverse);
    }

    static Operand transposed(Operand operand) {
        return new Operand(operand.segment(), operand.byteOffset(), operand.leading(), true);
    }
}
