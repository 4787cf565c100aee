package jlora.runtime.weight;

import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.op.Border;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A weight [N,K] inside one buffer of N+R rows and at least K+R columns, with its adapters as
 * borders:
 *
 * <pre>
 *         K      R
 *   N  [  W     s·B ]
 *   R  [  A      0  ]
 * </pre>
 *
 * R is the total rank of all blocks, rounded up to {@link #RANK_MULTIPLE}; border entries that no
 * block owns are zero, so they add nothing to any product.
 */
public final class BorderedWeight {
    /**
     * Ranks are padded to this many columns: 16 bytes of bf16, the least that tensor-core loads
     * take.
     */
    public static final long RANK_MULTIPLE = 8;

    /**
     * Rows of the buffer start at multiples of this many bytes: whole cache lines of source and
     * destination.
     */
    private static final long ROW_BYTES = 64;

    private record Block(
            int adapter,
            long outFrom,
            long out,
            long rankFrom,
            long rank,
            float scale,
            float dropout,
            int stream) {}

    private final String name;
    private final long rows;
    private final long cols;
    private final DType dtype;
    private final List<Block> blocks = new ArrayList<>();
    private long usedRank;
    private Tensor weight;
    private Optional<Border> border = Optional.empty();

    BorderedWeight(String name, DType dtype, long rows, long cols) {
        this.name = name;
        this.dtype = dtype;
        this.rows = rows;
        this.cols = cols;
    }

    public String name() {
        return name;
    }

    /** N. */
    public long rows() {
        return rows;
    }

    /** K. */
    public long cols() {
        return cols;
    }

    /**
     * Reserves the border of one adapter on the rows {@code outFrom .. outFrom + out}, before
     * {@link #seal}.
     *
     * @return the number of the block
     */
    public int reserve(
            int adapter,
            long outFrom,
            long out,
            long rank,
            float scale,
            float dropout,
            int stream) {
        if (weight != null) {
            throw new IllegalStateException(
                    name + ": borders are reserved before the weight is sealed");
        }
        if (rank < 1 || outFrom < 0 || outFrom + out > rows) {
            throw new IllegalArgumentException(
                    name + ": border of rank " + rank + " on rows " + outFrom + "+" + out);
        }
        blocks.add(new Block(adapter, outFrom, out, usedRank, rank, scale, dropout, stream));
        usedRank += rank;
        return blocks.size() - 1;
    }

    /** R. */
    public long rank() {
        return (usedRank + RANK_MULTIPLE - 1) / RANK_MULTIPLE * RANK_MULTIPLE;
    }

    /** Fixes the layout and makes the tensors, still without memory. */
    void seal() {
        long rank = rank();
        long perRow = ROW_BYTES / dtype.bytes();
        long stride = rank == 0 ? cols : (cols + rank + perRow - 1) / perRow * perRow;
        Tensor buffer =
                Tensor.padded(name, Storage.Role.WEIGHT, dtype, rows + rank, cols, stride - cols);
        weight = buffer.rows(0, rows);
        if (rank > 0) {
            Tensor a = buffer.rows(rows, rank);
            Tensor b = weight.columns(cols, rank);
            List<LowRankBorder.Block> views = new ArrayList<>();
            for (Block block : blocks) {
                views.add(
                        new LowRankBorder.Block(
                                a.rows(block.rankFrom, block.rank),
                                b.rows(block.outFrom, block.out)
                                        .columns(block.rankFrom, block.rank),
                                block.adapter,
                                block.outFrom,
                                block.rankFrom,
                                block.scale,
                                block.dropout,
                                block.stream));
            }
            border =
                    Optional.of(
                            new Border(
                                    new LowRankBorder(a, b, views),
                                    weight.columns(0, cols + rank),
                                    buffer));
        }
    }

    /** W [N,K]. */
    public Tensor weight() {
        if (weight == null) {
            throw new IllegalStateException(name + " is not sealed");
        }
        return weight;
    }

    public Optional<Border> border() {
        return border;
    }

    /** Bytes of W itself. */
    public long weightBytes() {
        return rows * cols * dtype.bytes();
    }

    /** Bytes of the buffer beyond W: borders and row padding. */
    public long borderBytes() {
        return weight().storage().bytes() - weightBytes();
    }
}
