package jlora.runtime.adapter.lora;

import jlora.runtime.kernel.LowRankBorder;

import java.util.Arrays;

/**
 * One module's low-rank factors on the host: the update of its weight is scale·B·A.
 *
 * @param a [rank,in], row by row
 * @param b [out,rank], row by row, without the scale
 */
public record LoraFactors(int rank, float scale, float[] a, float[] b) {
    /** No update. */
    static final LoraFactors NONE = new LoraFactors(0, 0, new float[0], new float[0]);

    /**
     * Fails when the factors are not for this module, or of a higher rank than its border holds.
     */
    void requireFit(String module, LowRankBorder.Block border) {
        long in = border.a().cols();
        long out = border.b().rows();
        if (rank < 1
                || rank > border.a().rows()
                || a.length != rank * in
                || b.length != rank * out) {
            throw new IllegalArgumentException(
                    module
                            + ": rank "
                            + rank
                            + " with "
                            + a.length
                            + " and "
                            + b.length
                            + " values does not fit "
                            + border.a().describe()
                            + " and "
                            + border.b().describe());
        }
    }

    /** A with zero rows up to this rank. */
    float[] paddedA(int to, int in) {
        return Arrays.copyOf(a, to * in);
    }

    /** B with zero columns up to this rank. */
    float[] paddedB(int to, int out) {
        if (rank == to) {
            return b;
        }
        float[] padded = new float[to * out];
        for (int i = 0; i < out; i++) {
            System.arraycopy(b, i * rank, padded, i * to, rank);
        }
        return padded;
    }
}
