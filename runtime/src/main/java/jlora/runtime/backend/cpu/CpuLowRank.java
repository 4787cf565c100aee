package jlora.runtime.backend.cpu;

import jlora.runtime.backend.cpu.PooledProducts.Factor;
import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.kernel.LowRankBorder.Block;
import jlora.runtime.kernel.LowRankBorder.Target;
import jlora.runtime.kernel.LowRankKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * {@link LowRankKernel} by the backend's matrix products. Where a block drops inputs, its masked
 * inputs are formed some rows at a time, in scratch that the backend keeps.
 */
final class CpuLowRank implements LowRankKernel, AutoCloseable {
    /** Bytes of masked inputs at a time: products of a few hundred rows are as fast as of all. */
    private static final long SCRATCH_BYTES = 4L << 20;

    private record Run(int adapter, long from, long count) {}

    @FunctionalInterface
    private interface Stretch {
        void run(Tensor masked, long from, long count);
    }

    private final CpuPool pool;
    private final PooledProducts products;
    private final DropoutRows dropout;
    private final long scratchBytes;
    private Optional<MemoryArena> scratch = Optional.empty();

    CpuLowRank(CpuPool pool, Products products) {
        this(pool, products, SCRATCH_BYTES);
    }

    CpuLowRank(CpuPool pool, Products products, long scratchBytes) {
        this.scratchBytes = scratchBytes;
        this.pool = pool;
        this.products = new PooledProducts(pool, products);
        this.dropout = new DropoutRows(pool);
    }

    @Override
    public void forward(
            Tensor u, Tensor x, LowRankBorder border, Optional<Tensor> adapterOfRow, Tensor rng) {
        if (border.drops()) {
            for (Block block : border.blocks()) {
                Tensor part = u.columns(block.rankFrom(), block.rank());
                inRows(
                        x,
                        (masked, from, count) -> {
                            dropout.apply(
                                    Grad.overwrite(masked), x.rows(from, count), from, block, rng);
                            products.multiply(
                                    part.rows(from, count),
                                    Factor.plain(masked),
                                    Factor.transposed(block.a()),
                                    Optional.empty());
                        });
            }
        } else {
            products.multiply(u, Factor.plain(x), Factor.transposed(border.a()), Optional.empty());
        }
        keepOwn(u, border, adapterOfRow);
    }

    @Override
    public void backwardOutput(
            Tensor du,
            List<Target> dB,
            Tensor dy,
            Tensor u,
            LowRankBorder border,
            Optional<Tensor> adapterOfRow) {
        products.multiply(du, Factor.plain(dy), Factor.plain(border.b()), 1f, false);
        keepOwn(du, border, adapterOfRow);
        for (Target target : dB) {
            Block block = target.block();
            weightGradient(
                    target.grad(),
                    dy.columns(block.outFrom(), block.out()),
                    u.columns(block.rankFrom(), block.rank()),
                    block.scale());
        }
    }

    @Override
    public void backwardA(List<Target> dA, Tensor du, Tensor x, Tensor rng) {
        List<Target> plain = new ArrayList<>();
        for (Target target : dA) {
            if (target.block().dropout() > 0) {
                maskedGradient(target, du, x, rng);
            } else {
                plain.add(target);
            }
        }
        for (int i = 0; i < plain.size(); ) {
            Target first = plain.get(i);
            long rows = first.block().rank();
            for (i++; i < plain.size() && follows(first, rows, plain.get(i)); i++) {
                rows += plain.get(i).block().rank();
            }
            weightGradient(
                    new Grad(extended(first.grad().tensor(), rows), first.grad().accumulate()),
                    du.columns(first.block().rankFrom(), rows),
                    x,
                    1);
        }
    }

    /**
     * True when a gradient lies right behind {@code rows} rows of another one, as those of q, k and
     * v do: then one product is enough, and reads X once.
     */
    private static boolean follows(Target first, long rows, Target next) {
        Tensor a = first.grad().tensor();
        Tensor b = next.grad().tensor();
        return first.grad().accumulate() == next.grad().accumulate()
                && a.storage() == b.storage()
                && a.isDense()
                && b.isDense()
                && b.offset() == a.offset() + rows * a.cols()
                && next.block().rankFrom() == first.block().rankFrom() + rows;
    }

    private static Tensor extended(Tensor gradient, long rows) {
        return rows == gradient.rows()
                ? gradient
                : new Tensor(
                        gradient.name(),
                        gradient.storage(),
                        gradient.dtype(),
                        rows,
                        gradient.cols(),
                        gradient.offset(),
                        gradient.cols());
    }

    private void maskedGradient(Target target, Tensor du, Tensor x, Tensor rng) {
        Block block = target.block();
        Tensor part = du.columns(block.rankFrom(), block.rank());
        Grad grad = target.grad();
        inRows(
                x,
                (masked, from, count) -> {
                    dropout.apply(Grad.overwrite(masked), x.rows(from, count), from, block, rng);
                    weightGradient(
                            new Grad(grad.tensor(), grad.accumulate() || from > 0),
                            part.rows(from, count),
                            masked,
                            1);
                });
    }

    @Override
    public void backwardInputDropout(Tensor dx, Tensor du, LowRankBorder border, Tensor rng) {
        for (Block block : border.blocks()) {
            Tensor part = du.columns(block.rankFrom(), block.rank());
            inRows(
                    dx,
                    (lowRank, from, count) -> {
                        products.multiply(
                                lowRank,
                                Factor.plain(part.rows(from, count)),
                                Factor.plain(block.a()),
                                1f,
                                false);
                        Grad into = Grad.accumulate(dx.rows(from, count));
                        dropout.apply(into, lowRank, from, block, rng);
                    });
        }
    }

    private void weightGradient(Grad into, Tensor gradient, Tensor input, float scale) {
        products.multiply(
                into.tensor(),
                Factor.transposed(gradient),
                Factor.plain(input),
                scale,
                into.accumulate());
    }

    /** Clears the columns of no block, and in mixed batches each row's columns of others. */
    private void keepOwn(Tensor u, LowRankBorder border, Optional<Tensor> adapterOfRow) {
        List<Run> runs = runs(border);
        if (adapterOfRow.isEmpty()) {
            runs.removeIf(run -> run.adapter() != LowRankBorder.NO_ADAPTER);
        }
        if (runs.isEmpty()) {
            return;
        }
        pool.run(
                u.rows(),
                Rows.grain(u.cols()),
                (part, from, to) -> {
                    for (long row = from; row < to; row++) {
                        for (Run run : runs) {
                            boolean own =
                                    adapterOfRow.isPresent()
                                            && run.adapter() == Rows.i32(adapterOfRow.get(), row);
                            if (!own) {
                                Rows.clear(u.columns(run.from(), run.count()), row);
                            }
                        }
                    }
                });
    }

    /** Adjacent columns that belong to the same adapter. */
    private static List<Run> runs(LowRankBorder border) {
        int[] adapters = new int[Math.toIntExact(border.rank())];
        Arrays.fill(adapters, LowRankBorder.NO_ADAPTER);
        for (Block block : border.blocks()) {
            int from = (int) block.rankFrom();
            Arrays.fill(adapters, from, from + (int) block.rank(), block.adapter());
        }
        List<Run> runs = new ArrayList<>();
        int start = 0;
        for (int c = 1; c <= adapters.length; c++) {
            if (c == adapters.length || adapters[c] != adapters[start]) {
                runs.add(new Run(adapters[start], start, c - start));
                start = c;
            }
        }
        return runs;
    }

    /** Covers the rows of a tensor with a scratch tensor of its columns and type. */
    private void inRows(Tensor like, Stretch body) {
        long rowBytes = like.cols() * like.dtype().bytes();
        long most = Math.max(1, Math.min(like.rows(), scratchBytes / Math.max(1, rowBytes)));
        Tensor whole = scratch(like.dtype(), most, like.cols());
        for (long from = 0; from < like.rows(); from += most) {
            long count = Math.min(most, like.rows() - from);
            body.run(whole.rows(0, count), from, count);
        }
    }

    private Tensor scratch(DType dtype, long rows, long cols) {
        Tensor tensor = Tensor.dense("low_rank", Storage.Role.WORKSPACE, dtype, rows, cols);
        long bytes = Math.max(scratchBytes, tensor.storage().bytes());
        if (scratch.isEmpty() || scratch.get().bytes() < bytes) {
            close();
            scratch = Optional.of(MemoryArena.host("low-rank scratch", bytes));
        }
        scratch.get().place(tensor.storage(), 0);
        return tensor;
    }

    @Override
    public void close() {
        scratch.ifPresent(MemoryArena::close);
        scratch = Optional.empty();
    }
}
