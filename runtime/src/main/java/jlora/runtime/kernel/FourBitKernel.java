package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

import java.util.List;

/**
 * Matrices in four bits: quantising them, in pieces as they are read, and making them whole. Codes
 * and scales equal those of bitsandbytes: a block's scale is its largest magnitude, elements are
 * multiplied by 1/scale in f32, and a code is the nearest entry of the table, by the published
 * thresholds. A block of zeros has the scale 0 and codes of 0. What is not finite has no code:
 * whoever quantises has to look at the scales, which are not finite then.
 */
public interface FourBitKernel {
    /**
     * Quantises adjacent rows of a matrix.
     *
     * @param to the matrix; the codes of the given rows are overwritten
     * @param absmax f32 [1, blocks of the matrix]: those of the given rows are overwritten; it is
     *     the matrix's own scales where these are not nested
     * @param firstBlock the block that the rows begin with
     * @param from [r,K] f32 or bf16, dense; r·K is a multiple of {@link FourBitMatrix#BLOCK}, or
     *     the rows are the last
     */
    void quantize(FourBitMatrix to, Tensor absmax, long firstBlock, Tensor from);

    /**
     * Stores the scales of a whole matrix in eight bits: their mean (summed in f64, rounded to f32)
     * is the offset, and what remains is quantised in blocks of 256.
     *
     * @param to with nested scales, which are overwritten
     * @param absmax as {@link #quantize} left it
     */
    void quantizeScales(FourBitMatrix to, Tensor absmax);

    /**
     * Makes matrices whole that stand one below the other.
     *
     * @param to [sum of rows, K] f32 or bf16, maybe strided; pads are left as they are
     * @param from of K columns each; products are formed in f32 and rounded to nearest even
     */
    void dequantize(Tensor to, List<FourBitMatrix> from);

    /** What {@link #dequantize} asks for. */
    static void requireFit(Tensor to, List<FourBitMatrix> from) {
        boolean cols = from.stream().allMatch(m -> m.cols() == to.cols());
        if (!cols || from.stream().mapToLong(FourBitMatrix::rows).sum() != to.rows()) {
            throw new IllegalArgumentException("four-bit matrices do not fill " + to.describe());
        }
    }
}
