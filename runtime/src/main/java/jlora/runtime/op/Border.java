package jlora.runtime.op;

import jlora.runtime.tensor.Tensor;

import java.util.Arrays;
import java.util.List;

/**
 * The low-rank part of a bordered weight, as views of the one buffer that holds it: W [N,K] with
 * s·B [N,R] to its right and A [R,K] below.
 *
 * @param a [R,K]
 * @param b [N,R], already scaled
 * @param weightAndB [N,K+R]
 * @param weightAndA [N+R,K]
 * @param blocks the adapters' parts of the border
 */
public record Border(Tensor a, Tensor b, Tensor weightAndB, Tensor weightAndA, List<Block> blocks) {
    /**
     * One adapter of one module within a (possibly fused) weight.
     *
     * @param a [r,K], rows of the border
     * @param b [n,r], scaled, columns of the border: the rows of W that belong to the module
     * @param adapter the number that a batch's adapterOfRow names
     * @param outFrom the module's first output row
     * @param rankFrom the block's first border column
     * @param scale alpha/r, or alpha/√r with rsLoRA
     * @param dropout probability on the low-rank path's input
     * @param stream tells this block's dropout masks from others'
     */
    public record Block(
            Tensor a,
            Tensor b,
            int adapter,
            long outFrom,
            long rankFrom,
            float scale,
            float dropout,
            int stream) {}

    public Border {
        blocks = List.copyOf(blocks);
    }

    /** R, the padded rank of all blocks together. */
    public long rank() {
        return a.rows();
    }

    /** The adapter of each border column; −2 for padding. */
    int[] adapterOfColumn() {
        int[] adapters = new int[(int) rank()];
        Arrays.fill(adapters, -2);
        for (Block block : blocks) {
            int from = (int) block.rankFrom;
            Arrays.fill(adapters, from, from + (int) block.a.rows(), block.adapter);
        }
        return adapters;
    }

    boolean dropout() {
        return blocks.stream().anyMatch(b -> b.dropout > 0);
    }
}
