package jlora.cu.cudnn;

/**
 * One attention over packed sequences, bf16. The rows of all sequences lie in one buffer [tokens,
 * qkvStride], each row q [heads · headDim] | k [kvHeads · headDim] | v [kvHeads · headDim]; the
 * result is [tokens, heads · headDim] with rows outStride apart. Strides are in elements. Where a
 * sequence begins and ends is data ({@link SdpaSequences}).
 *
 * @param tokens rows of the buffers
 * @param sequences the most sequences that a batch holds
 * @param longest the most tokens of one sequence
 * @param scale what q·k is multiplied by before the softmax
 * @param causal a query sees its own and earlier positions alone
 * @param window it sees at most this many of them, its own included; 0 for all
 */
public record SdpaShape(
        int tokens,
        int sequences,
        int longest,
        int heads,
        int kvHeads,
        int headDim,
        long qkvStride,
        long outStride,
        float scale,
        boolean causal,
        int window) {
    public SdpaShape {
        if (tokens < 1 || sequences < 1 || longest < 1 || longest > tokens) {
            throw new IllegalArgumentException(
                    tokens + " tokens in " + sequences + " sequences of at most " + longest);
        }
        if (heads < 1 || kvHeads < 1 || heads % kvHeads != 0) {
            throw new IllegalArgumentException(heads + " heads over " + kvHeads + " kv heads");
        }
        requireRow("qkv", qkvStride, (heads + 2L * kvHeads) * headDim);
        requireRow("out", outStride, (long) heads * headDim);
        if (window < 0 || (window > 0 && !causal)) {
            throw new IllegalArgumentException(
                    "a window of " + window + (causal ? "" : " without a causal mask"));
        }
    }

    /** Rows must keep every head at the alignment of the fast kernels. */
    static void requireRow(String name, long stride, long columns) {
        if (stride < columns || stride % (GraphTensor.PACK / Short.BYTES) != 0) {
            throw new IllegalArgumentException(
                    name
                            + " rows "
                            + stride
                            + " elements apart for "
                            + columns
                            + " columns: needs at least as many, and a multiple of 8");
        }
    }

    /** Query heads that share a kv head. */
    int group() {
        return heads / kvHeads;
    }

    long qkvColumns() {
        return vColumn() + (long) kvHeads * headDim;
    }

    /** The first column of k in a row. */
    long kColumn() {
        return (long) heads * headDim;
    }

    /** The first column of v in a row. */
    long vColumn() {
        return kColumn() + (long) kvHeads * headDim;
    }

    @Override
    public String toString() {
        return "attention of %d tokens in %d sequences of at most %d, %d/%d heads of %d%s%s"
                .formatted(
                        tokens,
                        sequences,
                        longest,
                        heads,
                        kvHeads,
                        headDim,
                        causal ? ", causal" : "",
                        window > 0 ? ", window " + window : "");
    }
}
