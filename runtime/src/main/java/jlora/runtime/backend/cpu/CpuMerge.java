package jlora.runtime.backend.cpu;

import jlora.runtime.backend.cpu.MergeStripes.Stripe;
import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.Corrections.Kind;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * {@link MergeKernel} by rectangles of each weight. First computes everything that merging does and
 * keeps only sizes, so the records are allocated, to the byte, before a weight changes.
 */
final class CpuMerge implements MergeKernel {
    private final CpuPool pool;

    CpuMerge(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public Optional<Corrections> merge(List<Part> parts) {
        List<CpuCorrection> records = new ArrayList<>();
        CpuCorrections all = new CpuCorrections(records);
        int merged = 0;
        try {
            for (Part part : parts) {
                Optional<CpuCorrection> record = prepare(part);
                if (record.isEmpty()) {
                    all.close();
                    return Optional.empty();
                }
                records.add(record.get());
            }
            for (; merged < parts.size(); merged++) {
                merge(parts.get(merged), records.get(merged));
            }
            return Optional.of(all);
        } catch (RuntimeException | Error e) {
            for (int i = 0; i < merged; i++) {
                unmerge(parts.get(i), records.get(i));
            }
            all.close();
            throw e;
        }
    }

    /** Finds what a merge would lose and makes room for it; empty when it would not be finite. */
    private Optional<CpuCorrection> prepare(Part matrix) {
        Tensor w = matrix.w();
        Tensor a = matrix.a();
        MergeStripes stripes = MergeStripes.of(w);
        CorrectionSizes sizes = new CorrectionSizes(stripes, w.dtype().bytes());
        AtomicBoolean finite = new AtomicBoolean(true);
        MergeTile[] tiles = new MergeTile[pool.threads()];
        pool.tasks(
                stripes.count(),
                (part, task) -> {
                    MergeTile tile = tile(tiles, part, w, a);
                    if (finite.get() && !measure(tile, w, a, matrix.b(), sizes, task)) {
                        finite.set(false);
                    }
                });
        return finite.get() ? Optional.of(new CpuCorrection(stripes, sizes)) : Optional.empty();
    }

    private static MergeTile tile(MergeTile[] tiles, int part, Tensor w, Tensor a) {
        if (tiles[part] == null) {
            tiles[part] = new MergeTile(w.dtype(), Math.toIntExact(a.rows()));
        }
        return tiles[part];
    }

    private static boolean measure(
            MergeTile tile, Tensor w, Tensor a, Tensor b, CorrectionSizes sizes, int number) {
        Stripe stripe = MergeStripes.of(w).stripe(number);
        int shift = shift(w);
        int last = -1;
        tile.load(a, stripe.col(), stripe.cols());
        for (int r = 0; r < stripe.rows(); r++) {
            if (!tile.merge(w, b, stripe.row() + r, stripe.col(), stripe.cols())) {
                return false;
            }
            int found = tile.differing(stripe.cols());
            for (int i = 0; i < found; i++) {
                int column = tile.differing[i];
                int position = r * stripe.cols() + column;
                int before = bits(tile.weights[column], shift);
                int back = bits(tile.back[column], shift);
                sizes.count(number, position - last - 1, before, back);
                last = position;
            }
        }
        return true;
    }

    private void merge(Part matrix, CpuCorrection record) {
        Tensor w = matrix.w();
        Tensor a = matrix.a();
        MergeTile[] tiles = new MergeTile[pool.threads()];
        pool.tasks(
                record.stripes().count(),
                (part, task) -> merge(tile(tiles, part, w, a), w, a, matrix.b(), record, task));
    }

    private static void merge(
            MergeTile tile, Tensor w, Tensor a, Tensor b, CpuCorrection record, int number) {
        Stripe stripe = record.stripes().stripe(number);
        boolean coded = record.kind() == Kind.SPARSE || record.kind() == Kind.CODES;
        byte[] bytes = new byte[coded ? record.size(number) : 0];
        CorrectionCode code = coded ? CorrectionCode.of(record.kind(), record.width()) : null;
        if (coded) {
            code.start(bytes, stripe.elements());
        }
        int shift = shift(w);
        tile.load(a, stripe.col(), stripe.cols());
        for (int r = 0; r < stripe.rows(); r++) {
            long row = stripe.row() + r;
            tile.merge(w, b, row, stripe.col(), stripe.cols());
            if (coded) {
                int found = tile.differing(stripe.cols());
                for (int i = 0; i < found; i++) {
                    int column = tile.differing[i];
                    code.add(
                            r * stripe.cols() + column,
                            bits(tile.weights[column], shift),
                            bits(tile.back[column], shift));
                }
            } else if (record.kind() == Kind.COPY) {
                long at = (long) r * stripe.cols() * record.width();
                record.segment(number).asSlice(at).copyFrom(row(w, row, stripe));
            }
            Rows.store(w, row, stripe.col(), tile.merged, 0, stripe.cols());
        }
        if (coded) {
            record.write(number, bytes);
        }
    }

    @Override
    public void unmerge(List<Part> parts, Corrections corrections) {
        List<CpuCorrection> records = ((CpuCorrections) corrections).records();
        for (int i = 0; i < parts.size(); i++) {
            unmerge(parts.get(i), records.get(i));
        }
    }

    private void unmerge(Part matrix, CpuCorrection record) {
        Tensor w = matrix.w();
        Tensor a = matrix.a();
        MergeTile[] tiles = new MergeTile[pool.threads()];
        pool.tasks(
                record.stripes().count(),
                (part, task) -> {
                    switch (record.kind()) {
                        case COPY -> restore(w, record, task);
                        case NONE, SPARSE, CODES ->
                                unmerge(tile(tiles, part, w, a), w, a, matrix.b(), record, task);
                    }
                });
    }

    private static void restore(Tensor w, CpuCorrection record, int number) {
        Stripe stripe = record.stripes().stripe(number);
        long bytes = (long) stripe.cols() * record.width();
        for (int r = 0; r < stripe.rows(); r++) {
            row(w, stripe.row() + r, stripe)
                    .copyFrom(record.segment(number).asSlice(r * bytes, bytes));
        }
    }

    private static void unmerge(
            MergeTile tile, Tensor w, Tensor a, Tensor b, CpuCorrection record, int number) {
        Stripe stripe = record.stripes().stripe(number);
        int shift = shift(w);
        boolean coded = record.kind() != Kind.NONE;
        CorrectionCode code = coded ? CorrectionCode.of(record.kind(), record.width()) : null;
        if (coded) {
            byte[] bytes = new byte[record.size(number)];
            record.read(number, bytes);
            code.open(bytes, bytes.length, stripe.elements());
        }
        tile.load(a, stripe.col(), stripe.cols());
        for (int r = 0; r < stripe.rows(); r++) {
            tile.unmerge(w, b, stripe.row() + r, stripe.col(), stripe.cols());
            int from = r * stripe.cols();
            while (coded && code.next() < from + stripe.cols()) {
                int column = code.next() - from;
                int before = code.before(bits(tile.back[column], shift));
                tile.back[column] = Float.intBitsToFloat(before << shift);
            }
            Rows.store(w, stripe.row() + r, stripe.col(), tile.back, 0, stripe.cols());
        }
    }

    /** The bytes of a rectangle's row of weights. */
    private static MemorySegment row(Tensor w, long row, Stripe stripe) {
        int width = w.dtype().bytes();
        long at = w.byteOffset(row) + stripe.col() * width;
        return w.segment().asSlice(at, (long) stripe.cols() * width);
    }

    /** How far the bits of a weight lie above those of its f32 form. */
    private static int shift(Tensor w) {
        return w.dtype() == DType.BF16 ? 16 : 0;
    }

    private static int bits(float weight, int shift) {
        return Float.floatToRawIntBits(weight) >>> shift;
    }

    @Override
    public long[] fingerprints(List<Tensor> tensors) {
        return tensors.stream().mapToLong(tensor -> WordSums.of(pool, tensor)).toArray();
    }
}
