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

    /** Whether the products of this block that take no rounded scores are products of bf16. */
    boolean narrow(Products products, DType dtype) {
        return dtype == DType.BF16
                && rows == ROWS
                && keys() <= NARROW_KEYS
                && products.bf16IsFaster();
    }

    /**
     * c = alpha·a·bᵀ: scores, or their gradients, of a block that is {@link #narrow}.
     *
     * @param a bf16 [rows, size]
     * @param b bf16 [keys, size]
     */
    void multiplyNarrow(Products products, int size, float alpha, Operand a, Operand b, Operand c) {
        products.multiply(
                new Products.Product(
                        rows,
                        keys(),
                        size,
                        alpha,
                        DType.BF16,
                        a,
                        transposed(b),
                        Optional.empty(),
                        false,
                        DType.F32,
                        c,
                        true));
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
        if (narrow) {
            Operand queries = AttentionScratch.inPlace(qkv, queryRow, col);
            multiplyNarrow(products, size, shape.scale(), queries, keys, scores);
        } else {
            Operand queries = scratch.read(Slot.QUERIES, qkv, queryRow, rows, col, size);
            products.f32(rows, keys(), size, shape.scale(), queries, transposed(keys), 0f, scores);
        }
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
            if (lse != null) {
                Rows.setF32(lse, queryRow + r, head, softmax.logSumExp());
            }
        }
        products.f32(rows, size, keys(), 1f, scores, values, 0f, result);
        scratch.write(out, queryRow, rows, col, size, result, inverse);
    }

    static Operand transposed(Operand operand) {
        return new Operand(operand.segment(), operand.byteOffset(), operand.leading(), true);
    }
}
