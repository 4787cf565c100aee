package jlora.runtime.weight;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Aside;
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
import java.util.function.Supplier;

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

    /** f32 tensors that hold factors of a block for as long as the run lasts. */
    private record Factors(Tensor a, Tensor b) {}

    private final String name;
    private final List<Long> parts;
    private final long rows;
    private final long cols;
    private final DType dtype;
    private final List<Block> blocks = new ArrayList<>();
    private final List<Factors> factors = new ArrayList<>();
    private long usedRank;
    private Tensor weight;
    private Optional<ExpandedMatrix> expanded = Optional.empty();
    private Optional<Fp8Stored> fp8 = Optional.empty();
    private Optional<LowRankBorder> lowRank = Optional.empty();
    private Optional<Expansion> expansion = Optional.empty();
    private Optional<Border> border = Optional.empty();

    /**
     * @param parts rows of each tensor of the checkpoint that it consists of
     */
    BorderedWeight(String name, DType dtype, List<Long> parts, long cols) {
        this.name = name;
        this.dtype = dtype;
        this.parts = List.copyOf(parts);
        this.rows = parts.stream().mapToLong(r -> r).sum();
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
     * Fixes the layout and makes the tensors, still without memory. What is stored in another form
     * has them in scratch; a weight in FP8 has none but its borders.
     *
     * @param storage how W stays in memory
     * @param sharding of plain weights among ranks
     * @param aside of the backend that holds them, once it does
     */
    void seal(FrozenStorage storage, Optional<Sharding> sharding, Supplier<Aside> aside) {
        if (storage.form() instanceof FrozenStorage.Form.Fp8 form) {
            fp8 = Optional.of(new Fp8Stored(name, parts, cols, form.scaling(), aside));
            sealBorders();
            return;
        }
        long rank = rank();
        long stride = rank == 0 ? cols : up(cols + rank);
        long pad = stride - cols;
        expanded = expanded(storage, rank, pad, sharding, aside);
        Tensor buffer =
                expanded.map(ExpandedMatrix::scratch)
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
            LowRankBorder low = lowRank(buffer.rows(rows, rank), weight.columns(cols, rank));
            lowRank = Optional.of(low);
            border = Optional.of(new Border(low, weight.columns(0, cols + rank), buffer));
        }
    }

    /** Empty where W lies in memory as products read it. */
    private Optional<ExpandedMatrix> expanded(
            FrozenStorage storage,
            long below,
            long pad,
            Optional<Sharding> sharding,
            Supplier<Aside> aside) {
        if (storage.form() instanceof FrozenStorage.Form.FourBit form) {
            FourBitLayout layout = new FourBitLayout(parts, cols, form);
            return Optional.of(
                    new FourBitStored(
                            name, dtype, layout, below, pad, storage.inHostMemory(), aside));
        }
        if (storage.inHostMemory()) {
            return Optional.of(new HostMatrix(name, dtype, rows, cols, below, pad, aside));
        }
        return sharding.map(s -> new ShardedMatrix(name, dtype, rows, cols, below, pad, s));
    }

    /** Borders with memory of their own. */
    private void sealBorders() {
        long rank = rank();
        if (rank > 0) {
            long pad = up(cols) - cols;
            Tensor a = Tensor.padded(name + ".A", Storage.Role.ADAPTER, dtype, rank, cols, pad);
            Tensor b = Tensor.dense(name + ".B", Storage.Role.ADAPTER, dtype, rows, rank);
            lowRank = Optional.of(lowRank(a, b));
        }
    }

    /** So many columns or more, a multiple of {@link #ROW_BYTES}. */
    private long up(long columns) {
        long perRow = ROW_BYTES / dtype.bytes();
        return Math.ceilDiv(columns, perRow) * perRow;
    }

    private LowRankBorder lowRank(Tensor a, Tensor b) {
        List<LowRankBorder.Block> views = new ArrayList<>();
        for (Block block : blocks) {
            views.add(
                    new LowRankBorder.Block(
                            a.rows(block.rankFrom, block.rank),
                            b.rows(block.outFrom, block.out).columns(block.rankFrom, block.rank),
                            block.adapter,
                            block.outFrom,
                            block.rankFrom,
                            block.scale,
                            block.dropout,
                            block.stream));
        }
        return new LowRankBorder(a, b, views);
    }

    /** W [N,K], as products of the activations' type read it; not for FP8. */
    public Tensor weight() {
        if (weight == null) {
            throw new IllegalStateException(name + " is not sealed");
        }
        return weight;
    }

    /** Adapters as part of the products; not for FP8. */
    public Optional<Border> border() {
        return border;
    }

    /** Adapters, wherever they are. */
    public Optional<LowRankBorder> lowRank() {
        return lowRank;
    }

    /** W where it is stored in FP8. */
    public Optional<Fp8Stored> fp8() {
        return fp8;
    }

    /**
     * True when no memory holds W as it is: it is quantised, shared among workers or in memory of
     * the host.
     */
    public boolean expands() {
        return expanded.isPresent() || fp8.isPresent();
    }

    /** True when only a share of W stays in the memory of this rank. */
    public boolean sharded() {
        return expanded.filter(ShardedMatrix.class::isInstance).isPresent();
    }

    /** What is kept of the rows {@code from .. from + count} of W. */
    public Held held(long from, long count) {
        if (fp8.isPresent()) {
            return fp8.get().held(from, count);
        }
        return expanded.map(e -> e.held(from, count))
                .orElseGet(() -> HeldRows.all(weight()).part(from, count));
    }

    /**
     * Where the factors of a block are written to take effect: the border, or what the border is
     * written from.
     */
    public Tensor factorA(int block) {
        return factors.isEmpty()
                ? lowRank.orElseThrow().blocks().get(block).a()
                : factors.get(block).a;
    }

    /** The same for B, which is s·B here. */
    public Tensor factorB(int block) {
        return factors.isEmpty()
                ? lowRank.orElseThrow().blocks().get(block).b()
                : factors.get(block).b;
    }

    /**
     * Says from what the borders are written each time that the scratch is filled.
     *
     * @param masters of all blocks; none where adapters are not trained, whose factors then have
     *     memory of their own
     */
    void bordersFrom(List<PublishKernel.Copy> masters) {
        if (expanded.isEmpty()) {
            return;
        }
        List<PublishKernel.Copy> sources = new ArrayList<>(masters);
        if (masters.size() != 2 * blocks.size()) {
            if (!masters.isEmpty() || sharded()) {
                throw JloraException.usage(
                        name
                                + " is shared among workers or quantised and has adapters that are"
                                + " not trained; leave shard_base out, or train all of them.");
            }
            sources.addAll(ownFactors());
        }
        List<Step> finish = new ArrayList<>();
        long unused = rank() - usedRank;
        if (unused > 0) {
            Tensor zeros = lowRank.orElseThrow().a().rows(usedRank, unused);
            finish.add(
                    Step.of(
                            "random_fill.constant",
                            List.of(),
                            List.of(zeros),
                            k -> k.randomFill().constant(zeros, 0)));
        }
        if (!sources.isEmpty()) {
            finish.add(
                    Step.of(
                            "publish",
                            sources.stream().map(PublishKernel.Copy::from).toList(),
                            sources.stream().map(PublishKernel.Copy::to).toList(),
                            k -> k.publish().publish(sources)));
        }
        expansion = Optional.of(expanded.get().expansion(finish));
    }

    private List<PublishKernel.Copy> ownFactors() {
        List<PublishKernel.Copy> copies = new ArrayList<>();
        for (LowRankBorder.Block block : lowRank.orElseThrow().blocks()) {
            Factors own =
                    new Factors(
                            like(name + ".lora_A", block.a()), like(name + ".lora_B", block.b()));
            factors.add(own);
            copies.add(new PublishKernel.Copy(block.a(), own.a, 1));
            copies.add(new PublishKernel.Copy(block.b(), own.b, 1));
        }
        return copies;
    }

    private static Tensor like(String name, Tensor border) {
        return Tensor.dense(name, Storage.Role.ADAPTER, DType.F32, border.rows(), border.cols());
    }

    /** To be called where a trace reads the weight: it may have to be made whole first. */
    public void expandIn(Trace trace) {
        fp8.filter(stored -> trace.training())
                .ifPresent(stored -> trace.expand(stored.expansion()));
        if (expanded.isPresent()) {
            trace.expand(
                    expansion.orElseThrow(
                            () ->
                                    new IllegalStateException(
                                            name + " is expanded, its borders have no source")));
        }
    }

    /** What stays in the memory of the device for the whole run. */
    List<Storage> storages() {
        List<Storage> all = new ArrayList<>();
        if (fp8.isPresent()) {
            all.addAll(fp8.get().resident());
            lowRank.ifPresent(low -> all.addAll(List.of(low.a().storage(), low.b().storage())));
        } else if (expanded.isEmpty()) {
            all.add(weight().storage());
        } else if (!expanded.get().inHostMemory()) {
            all.add(expanded.get().resident());
        }
        factors.forEach(f -> all.addAll(List.of(f.a.storage(), f.b.storage())));
        return all;
    }

    /** What stays in page-locked memory of the host. */
    List<Storage> hostStorages() {
        return expanded.filter(ExpandedMatrix::inHostMemory)
                .map(e -> List.of(e.resident()))
                .orElse(List.of());
    }

    /** Bytes of W, wherever they stay. */
    long weightBytes() {
        if (fp8.isPresent()) {
            return fp8.get().resident().stream().mapToLong(Storage::bytes).sum();
        }
        return expanded.map(ExpandedMatrix::weightBytes)
                .orElseGet(() -> rows * cols * dtype.bytes());
    }

    /** Bytes in memory of the device beyond W: borders and row padding. */
    long borderBytes() {
        long all = storages().stream().mapToLong(Storage::bytes).sum();
        return hostStorages().isEmpty() ? all - weightBytes() : all;
    }
}
