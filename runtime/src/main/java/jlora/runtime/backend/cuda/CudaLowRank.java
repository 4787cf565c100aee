package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.backend.cuda.LowRankTable.Group;
import jlora.runtime.backend.cuda.LowRankTable.Part;
import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.kernel.LowRankBorder.Target;
import jlora.runtime.kernel.LowRankKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * {@link LowRankKernel} by {@code low_rank.cu}: tensor cores for bf16 in whole 16 bytes, which is
 * how bordered weights and their activations lie; plain arithmetic for anything else.
 *
 * <p>Grids are cut so that every multiprocessor has a block, but no finer: each cut leaves a part
 * sum in scratch.
 */
final class CudaLowRank implements LowRankKernel {
    private static final int SUM_THREADS = 256;
    private static final int SCALAR_THREADS = 256;
    private static final int SCALAR_ROWS = SCALAR_THREADS / 32;

    /** As in low_rank.cu: tiles of the forward product. */
    private static final int FORWARD_ROWS = 128;

    private static final int FORWARD_DEPTH = 64;
    private static final int FORWARD_COLUMNS = 64;
    private static final int FORWARD_THREADS = 128;
    private static final int FORWARD_STAGES = 3;

    /** As in low_rank.cu: dX under dropout. */
    private static final int DROP_ROWS = 128;

    private static final int DROP_COLUMNS = 64;
    private static final int DROP_DEPTH = 64;

    /** Columns of the border that one part may have: every pass holds one part at least. */
    private static final int MOST_OUTPUT = 32;

    /** A pass over the rows of dY or X, {@code Pass} in low_rank.cu. */
    private record Pass(String name, int strip, int rows, int stages, int locals) {
        private static final Pass OUTPUT_16 = new Pass("backward_output16", 512, 16, 4, 16);
        private static final Pass OUTPUT_32 = new Pass("backward_output32", 512, 16, 4, 32);
        private static final Pass A_32 = new Pass("backward_a32", 256, 16, 8, 32);
        private static final Pass A_64 = new Pass("backward_a64", 256, 16, 8, 64);

        private static final int THREADS = 256;
        private static final int WARPS = THREADS / 32;

        /** Elements of a row of U or of sums in shared memory. */
        private int sideStride() {
            return locals + 8;
        }

        private long sharedBytes() {
            return 2L * stages * rows * strip + 2L * 2 * rows * sideStride();
        }

        private long sumBytes() {
            return 4L * WARPS * rows * sideStride();
        }

        private long maskBytes() {
            return 2L * rows * strip;
        }

        /** Floats of a strip's part of a gradient. */
        private long gradient() {
            return (long) strip * locals;
        }
    }

    private final CudaKernels kernels;
    private final long scratchBytes;

    CudaLowRank(CudaKernels kernels) {
        this(kernels, CudaKernels.SCRATCH_BYTES);
    }

    /** With less scratch than there is. */
    CudaLowRank(CudaKernels kernels, long scratchBytes) {
        this.kernels = kernels;
        this.scratchBytes = scratchBytes;
    }

    @Override
    public void forward(
            Tensor u, Tensor x, LowRankBorder border, Optional<Tensor> adapterOfRow, Tensor rng) {
        if (u.elements() == 0) {
            return;
        }
        boolean fast = u.dtype() == DType.BF16 && CudaKernels.aligned(x, border.a());
        List<Part> all = LowRankTable.covering(border, List.of(), FORWARD_COLUMNS);
        for (List<Part> parts : LowRankTable.batches(all)) {
            long from = parts.getFirst().column();
            long count = parts.getLast().end() - from;
            Tensor columns = u.columns(from, count);
            Tensor a = border.a().rows(from, count);
            MemorySegment table = LowRankTable.pack(parts, from);
            if (fast) {
                boolean drops = parts.stream().anyMatch(Part::drops);
                forward(columns, x, a, adapterOfRow, rng, drops, table);
            } else {
                call("low_rank_scalar_forward", columns)
                        .tensor(x)
                        .i64(x.stride())
                        .tensor(a)
                        .i64(a.stride())
                        .pointer(address(adapterOfRow))
                        .tensor(rng)
                        .i32(x.rows())
                        .i32(x.cols())
                        .structure(table)
                        .launch(byRows(x, parts.size()));
            }
        }
    }

    private void forward(
            Tensor u,
            Tensor x,
            Tensor a,
            Optional<Tensor> adapterOfRow,
            Tensor rng,
            boolean drops,
            MemorySegment table) {
        long tiles = Math.ceilDiv(x.rows(), FORWARD_ROWS);
        long groups = Math.ceilDiv(u.cols(), FORWARD_COLUMNS);
        long chunks = Math.ceilDiv(x.cols(), FORWARD_DEPTH);
        long splits = splits(tiles * groups, chunks / 4, 4 * u.elements(), scratchBytes);
        long partial = kernels.scratch(splits == 1 ? 0 : splits * 4 * u.elements());
        long tile = 2L * FORWARD_ROWS * FORWARD_DEPTH;
        long shared = FORWARD_STAGES * (tile + 2L * FORWARD_COLUMNS * FORWARD_DEPTH);
        kernels.call("low_rank_forward" + (drops ? "_dropout" : ""), u.dtype())
                .tensor(u)
                .i64(u.stride())
                .pointer(partial)
                .tensor(x)
                .i64(x.stride())
                .tensor(a)
                .i64(a.stride())
                .pointer(address(adapterOfRow))
                .tensor(rng)
                .i32(x.rows())
                .i32(x.cols())
                .i32(u.cols())
                .structure(table)
                .launch(
                        LaunchShape.of(tiles, splits, groups, FORWARD_THREADS)
                                .shared(shared + (drops ? tile : 0)));
        if (splits > 1) {
            kernels.call("low_rank_forward_sum", u.dtype())
                    .tensor(u)
                    .i64(u.stride())
                    .pointer(partial)
                    .pointer(address(adapterOfRow))
                    .i32(u.rows())
                    .i32(u.cols())
                    .i32(splits)
                    .structure(table)
                    .launch(elements(u.elements(), 1));
        }
    }

    @Override
    public void backwardOutput(
            Tensor du,
            List<Target> dB,
            Tensor dy,
            Tensor u,
            LowRankBorder border,
            Optional<Tensor> adapterOfRow) {
        if (du.elements() == 0) {
            return;
        }
        List<Part> all = LowRankTable.covering(border, dB, MOST_OUTPUT);
        boolean fast = du.dtype() == DType.BF16 && CudaKernels.aligned(dy);
        for (Part part : all) {
            fast &= part.outFrom() % 8 == 0 && part.out() % 8 == 0;
        }
        for (List<Part> parts : LowRankTable.batches(all)) {
            if (fast) {
                backwardOutput(du, dy, u, border.b(), parts, adapterOfRow);
            } else {
                MemorySegment table = LowRankTable.pack(parts, 0);
                call("low_rank_scalar_backward_output", du)
                        .tensor(dy)
                        .i64(dy.stride())
                        .tensor(border.b())
                        .i64(border.b().stride())
                        .pointer(address(adapterOfRow))
                        .i32(dy.rows())
                        .structure(table)
                        .launch(byRows(dy, parts.size()));
                long most = parts.stream().mapToLong(Part::out).max().orElseThrow();
                if (!dB.isEmpty() && most > 0) {
                    call("low_rank_scalar_backward_b", dy)
                            .tensor(u)
                            .i64(u.stride())
                            .i32(dy.rows())
                            .structure(table)
                            .launch(elements(most, parts.size()));
                }
            }
        }
    }

    private void backwardOutput(
            Tensor du,
            Tensor dy,
            Tensor u,
            Tensor b,
            List<Part> parts,
            Optional<Tensor> adapterOfRow) {
        Pass wide = Pass.OUTPUT_32;
        List<Group> groups = LowRankTable.overOutputs(parts, wide.locals(), wide.strip());
        int rank = groups.stream().mapToInt(Group::rank).max().orElseThrow();
        Pass pass = rank <= Pass.OUTPUT_16.locals() ? Pass.OUTPUT_16 : wide;
        int strips = strips(groups);
        // Half of the scratch for either sum; dU of so many rows at a time as fit.
        long half = scratchBytes / 2;
        long row = 4L * Math.max(1, strips) * pass.locals();
        long rows = Math.max(1, half / row / pass.rows()) * pass.rows();
        for (long from = 0; from < dy.rows(); from += rows) {
            long count = Math.min(rows, dy.rows() - from);
            long at = from;
            stream(
                    pass,
                    false,
                    groups,
                    LowRankTable.pack(groups, true, from > 0),
                    half,
                    Optional.of(du.rows(from, count)),
                    dy.rows(from, count),
                    u.rows(from, count),
                    Optional.of(b),
                    Optional.empty(),
                    adapterOfRow.map(adapters -> adapters.columns(at, count)));
        }
    }

    @Override
    public void backwardA(List<Target> dA, Tensor du, Tensor x, Tensor rng) {
        if (x.cols() == 0 || dA.isEmpty()) {
            return;
        }
        boolean fast = x.dtype() == DType.BF16 && CudaKernels.aligned(x) && x.rows() > 0;
        boolean drops = dA.stream().anyMatch(target -> target.block().dropout() > 0);
        long rank = dA.stream().mapToLong(target -> target.block().rank()).sum();
        // A pass that forms masks is bound by that, so it need not hold many columns.
        Pass pass = drops || rank <= Pass.A_32.locals() ? Pass.A_32 : Pass.A_64;
        for (List<Part> parts : LowRankTable.batches(LowRankTable.of(dA, pass.locals()))) {
            List<Group> groups =
                    LowRankTable.overInputs(parts, x.cols(), pass.locals(), pass.strip());
            MemorySegment table = LowRankTable.pack(groups, false, false);
            if (fast) {
                stream(
                        pass,
                        drops,
                        groups,
                        table,
                        0,
                        Optional.empty(),
                        x,
                        du,
                        Optional.empty(),
                        Optional.of(rng),
                        Optional.empty());
            } else {
                call("low_rank_scalar_backward_a", x)
                        .tensor(du)
                        .i64(du.stride())
                        .tensor(rng)
                        .i32(x.rows())
                        .i32(x.cols())
                        .structure(table)
                        .launch(elements(x.cols(), parts.size()));
            }
        }
    }

    /**
     * A pass over the rows of {@code streamed}, and the kernel that adds its sums up.
     *
     * @param duBytes of the scratch that dU may take
     * @param side U beside dY, dU beside X
     */
    private void stream(
            Pass pass,
            boolean drops,
            List<Group> groups,
            MemorySegment table,
            long duBytes,
            Optional<Tensor> du,
            Tensor streamed,
            Tensor side,
            Optional<Tensor> b,
            Optional<Tensor> rng,
            Optional<Tensor> adapterOfRow) {
        int strips = strips(groups);
        long tiles = Math.ceilDiv(streamed.rows(), pass.rows());
        long gradientBytes = 4 * strips * pass.gradient();
        long splits = splits(strips, tiles / 4, gradientBytes, scratchBytes - duBytes);
        long duPartial = kernels.scratch(scratchBytes);
        long gradientPartial = duPartial + duBytes;
        if (strips > 0) {
            long more = du.isPresent() ? pass.sumBytes() : drops ? pass.maskBytes() : 0;
            kernels.call("low_rank_" + pass.name() + (drops ? "_dropout" : ""), streamed.dtype())
                    .pointer(duPartial)
                    .pointer(gradientPartial)
                    .tensor(streamed)
                    .i64(streamed.stride())
                    .tensor(side)
                    .i64(side.stride())
                    .pointer(address(b))
                    .i64(b.map(Tensor::stride).orElse(0L))
                    .pointer(address(rng))
                    .i32(streamed.rows())
                    .i32(streamed.cols())
                    .structure(table)
                    .launch(
                            LaunchShape.of(strips, splits, 1, Pass.THREADS)
                                    .shared(pass.sharedBytes() + more));
        }
        long widest = groups.stream().mapToLong(Group::strips).max().orElseThrow();
        long sums =
                (du.isPresent() ? streamed.rows() * pass.locals() : 0)
                        + (splits > 1 ? widest * pass.gradient() : 0);
        if (sums > 0) {
            kernels.call("low_rank_" + pass.name() + "_sum", streamed.dtype())
                    .pointer(address(du))
                    .i64(du.map(Tensor::stride).orElse(0L))
                    .pointer(duPartial)
                    .pointer(gradientPartial)
                    .pointer(address(adapterOfRow))
                    .i32(streamed.rows())
                    .i32(strips)
                    .i32(splits)
                    .structure(table)
                    .launch(elements(sums, groups.size()));
        }
    }

    @Override
    public void backwardInputDropout(Tensor dx, Tensor du, LowRankBorder border, Tensor rng) {
        if (dx.elements() == 0) {
            return;
        }
        boolean fast = dx.dtype() == DType.BF16 && CudaKernels.aligned(dx, border.a());
        for (List<Part> parts : byDepth(border)) {
            kernels.call(
                            "low_rank_" + (fast ? "" : "scalar_") + "backward_input_dropout",
                            dx.dtype())
                    .tensor(dx)
                    .i64(dx.stride())
                    .tensor(du)
                    .i64(du.stride())
                    .tensor(border.a())
                    .i64(border.a().stride())
                    .tensor(rng)
                    .i32(dx.rows())
                    .i32(dx.cols())
                    .structure(LowRankTable.pack(parts, 0))
                    .launch(
                            fast
                                    ? LaunchShape.of(
                                            Math.ceilDiv(dx.cols(), DROP_COLUMNS),
                                            Math.ceilDiv(dx.rows(), DROP_ROWS),
                                            1,
                                            256)
                                    : LaunchShape.of(
                                            Math.ceilDiv(dx.cols(), SCALAR_THREADS),
                                            Math.min(dx.rows(), LaunchShape.MAX_GRID_YZ),
                                            1,
                                            SCALAR_THREADS));
        }
    }

    /** The blocks' parts, together as many as one launch holds when each is padded to 16. */
    private static List<List<Part>> byDepth(LowRankBorder border) {
        List<List<Part>> lists = new ArrayList<>();
        int depth = DROP_DEPTH;
        for (Part part : LowRankTable.covering(border, List.of(), DROP_DEPTH)) {
            if (part.block().isEmpty()) {
                continue;
            }
            int padded = Math.ceilDiv(part.rank(), 16) * 16;
            if (depth + padded > DROP_DEPTH) {
                lists.add(new ArrayList<>());
                depth = 0;
            }
            lists.getLast().add(part);
            depth += padded;
        }
        return lists;
    }

    /** Begins a call with a tensor and its stride. */
    private CudaKernels.Call call(String stem, Tensor first) {
        return kernels.call(stem, first.dtype()).tensor(first).i64(first.stride());
    }

    /**
     * How often to cut what {@code blocks} blocks work on: until every multiprocessor has one, but
     * at most {@code most} times, and so that the sums of all cuts fit.
     */
    private long splits(long blocks, long most, long bytesEach, long bytes) {
        long wanted = Math.ceilDiv(kernels.device().multiprocessors(), Math.max(1, blocks));
        long fit = bytes / Math.max(1, bytesEach);
        return Math.max(1, Math.min(wanted, Math.min(most, fit)));
    }

    private static int strips(List<Group> groups) {
        return groups.stream().mapToInt(Group::strips).sum();
    }

    private static long address(Optional<Tensor> tensor) {
        return tensor.map(Tensor::address).orElse(0L);
    }

    private static LaunchShape byRows(Tensor tensor, int parts) {
        return LaunchShape.of(Math.ceilDiv(tensor.rows(), SCALAR_ROWS), parts, 1, SCALAR_THREADS);
    }

    private static LaunchShape elements(long count, int groups) {
        return LaunchShape.of(Math.ceilDiv(count, SUM_THREADS), groups, 1, SUM_THREADS);
    }
}
