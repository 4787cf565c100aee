package jlora.runtime.kernel;

import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.List;

/**
 * The adapters of one weight [N,K]: A of all of them above each other, s·B beside each other.
 *
 * @param a [R,K]
 * @param b [N,R], already scaled; zero outside the blocks
 * @param blocks the adapters' parts; no two share a column of the border
 */
public record LowRankBorder(Tensor a, Tensor b, List<Block> blocks) {
    /** The adapter of border columns that no block owns; no row of a batch uses it. */
    public static final int NO_ADAPTER = -2;

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
            int stream) {
        /** r. */
        public long rank() {
            return a.rows();
        }

        /** n, the module's output features. */
        public long out() {
            return b.rows();
        }

        private Block withoutDropout() {
            return new Block(a, b, adapter, outFrom, rankFrom, scale, 0, stream);
        }
    }

    /** The gradient of one block's A or B. */
    public record Target(Block block, Grad grad) {}

    public LowRankBorder {
        blocks = List.copyOf(blocks);
    }

    /** R, the padded rank of all blocks together. */
    public long rank() {
        return a.rows();
    }

    /** True when a block drops inputs. */
    public boolean drops() {
        return blocks.stream().anyMatch(block -> block.dropout > 0);
    }

    /** The same border as evaluation sees it. */
    public LowRankBorder withoutDropout() {
        return new LowRankBorder(a, b, blocks.stream().map(Block::withoutDropout).toList());
    }
}
