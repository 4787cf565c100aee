package jlora.runtime.op;

import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.tensor.Tensor;

import java.util.List;

/**
 * The low-rank part of a bordered weight, as views of the one buffer that holds it: W [N,K] with
 * s·B [N,R] to its right and A [R,K] below.
 *
 * @param lowRank A, s·B and the adapters' parts of them
 * @param weightAndB [N,K+R]
 * @param weightAndA [N+R,K]
 */
public record Border(LowRankBorder lowRank, Tensor weightAndB, Tensor weightAndA) {
    /** The adapters' parts of the border. */
    public List<LowRankBorder.Block> blocks() {
        return lowRank.blocks();
    }

    /** R, the padded rank of all blocks together. */
    public long rank() {
        return lowRank.rank();
    }
}
