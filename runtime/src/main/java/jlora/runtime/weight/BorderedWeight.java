package jlora.runtime.weight;

import jlora.runtime.JloraException;
import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.kernel.PublishKernel;
import jlora.runtime.op.Border;
import jlora.runtime.plan.Expansion;
import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
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
    private Optional<ShardedMatrix> shards = Optional.empty();
    private Optional<Expansion> expansion = Optional.empty();
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

    /**
     * Fixes the layout and makes the tensors, still without memory. With a sharding they lie in
     * scratch, and only a share of W stays in memory.
     */
    void seal(Optional<Sharding> sharding) {
        long rank = rank();
        long perRow = ROW_BYTES / dtype.bytes();
        long stride = rank == 0 ? cols : (cols + rank + perRow - 1) / perRow * perRow;
        long pad = stride - cols;
        shards = sharding.map(s -> new ShardedMatrix(name, dtype, rows, cols, rank, pad, s));
        Tensor buffer =
                shards.map(ShardedMatrix::scratch)
                        .orElseGet(
                                () ->
                                        Tensor.padded(
                                                name,
                                                Storage.Role.WEIGHT,
                                                dtype,
                                                rows + rank,
                                                cols,
                                                pad))
                        .rows(0, rows + rank);
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

    /** True when only a share of W stays in memory: borders have no memory of their own then. */
    public boolean sharded() {
        return shards.isPresent();
    }

    /** What stays in memory for the whole run: the buffer, or this rank's share of W. */
    Tensor resident() {
        return shards.map(ShardedMatrix::resident).orElseGet(this::weight);
    }

    /** What is in memory here of the rows {@code from .. from + count} of W. */
    public HeldRows held(long from, long count) {
        return shards.map(ShardedMatrix::held)
                .orElseGet(() -> HeldRows.all(weight()))
                .part(from, count);
    }

    /**
     * Says from what the borders are written each time that the scratch is filled.
     *
     * @param masters of all blocks
     */
    void bordersFrom(List<PublishKernel.Copy> masters) {
        if (shards.isEmpty()) {
            return;
        }
        if (masters.size() != 2 * blocks.size()) {
            throw JloraException.usage(
                    name
                            + " is sharded and has adapters that are not trained; leave shard_base"
                            + " out, it is for training alone.");
        }
        List<Step> finish = new ArrayList<>();
        long unused = rank() - usedRank;
        if (unused > 0) {
            Tensor zeros = border.orElseThrow().lowRank().a().rows(usedRank, unused);
            finish.add(
                    Step.of(
                            "random_fill.constant",
                            List.of(),
                            List.of(zeros),
                            k -> k.randomFill().constant(zeros, 0)));
        }
        if (!masters.isEmpty()) {
            finish.add(
                    Step.of(
                            "publish",
                            masters.stream().map(PublishKernel.Copy::from).toList(),
                            masters.stream().map(PublishKernel.Copy::to).toList(),
                            k -> k.publish().publish(masters)));
        }
        expansion = Optional.of(shards.get().expansion(finish));
    }

    /** To be called where a trace reads the weight: it may have to be made whole first. */
    public void expandIn(Trace trace) {
        if (shards.isPresent()) {
            trace.expand(
                    expansion.orElseThrow(
                            () ->
                                    new IllegalStateException(
                                            name + " is sharded, its borders have no source")));
        }
    }

    /** Bytes of W in memory. */
    public long weightBytes() {
        return resident().rows() * cols * dtype.bytes();
    }

    /** Bytes in memory beyond W: borders and row padding. */
    public long borderBytes() {
        return resident().storage().bytes() - weightBytes();
    }
}
