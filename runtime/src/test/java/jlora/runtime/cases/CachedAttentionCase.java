package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;
import static jlora.runtime.tensor.DType.I32;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.CachedAttentionKernel;
import jlora.runtime.tensor.DType;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Attention to a cache, which holds poison wherever no key or value belongs.
 *
 * @param cached positions of each sequence in the cache
 * @param lengths new tokens of each sequence
 */
public record CachedAttentionCase(
        AttentionShape shape,
        List<Integer> cached,
        List<Integer> lengths,
        int padding,
        int capacity,
        DType dtype,
        Layout layout)
        implements OpCase<CachedAttentionKernel> {
    public static List<OpCase<CachedAttentionKernel>> all() {
        List<OpCase<CachedAttentionKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(of(shape(1, 1, 8, 0), List.of(0), List.of(1), 0, 1, dtype, Layout.DENSE));
            cases.add(of(shape(3, 3, 5, 0), List.of(4), List.of(1), 0, 9, dtype, Layout.ODD));
            cases.add(of(shape(3, 1, 5, 0), List.of(0), List.of(7), 2, 7, dtype, Layout.ODD));
            cases.add(
                    of(
                            shape(4, 2, 8, 0),
                            List.of(3, 0, 9),
                            List.of(1, 4, 0),
                            1,
                            9,
                            dtype,
                            Layout.PADDED));
            cases.add(
                    of(
                            shape(4, 2, 8, 3),
                            List.of(6, 1),
                            List.of(1, 5),
                            0,
                            12,
                            dtype,
                            Layout.DENSE));
            cases.add(
                    of(
                            shape(2, 1, 64, 0),
                            List.of(70, 5),
                            List.of(1, 1),
                            0,
                            80,
                            dtype,
                            Layout.DENSE));
            cases.add(
                    of(shape(2, 2, 128, 0), List.of(33), List.of(3), 0, 40, dtype, Layout.PADDED));
            // Long enough that a GPU divides the positions among blocks.
            cases.add(
                    of(
                            shape(8, 1, 40, 0),
                            List.of(300, 0),
                            List.of(1, 2),
                            1,
                            320,
                            dtype,
                            Layout.DENSE));
            cases.add(
                    of(
                            shape(2, 1, 16, 150),
                            List.of(290, 10),
                            List.of(1, 1),
                            0,
                            400,
                            dtype,
                            Layout.ODD));
            cases.add(of(shape(1, 1, 264, 0), List.of(70), List.of(1), 0, 71, dtype, Layout.DENSE));
        }
        return cases;
    }

    /** One new token of a 0.5B Llama after 512. */
    public static List<OpCase<CachedAttentionKernel>> speed() {
        return List.of(
                of(shape(14, 2, 64, 0), List.of(512), List.of(1), 0, 1024, F32, Layout.PADDED),
                of(shape(14, 2, 64, 0), List.of(512), List.of(1), 0, 1024, BF16, Layout.PADDED));
    }

    private static AttentionShape shape(int heads, int kvHeads, int headDim, int window) {
        return new AttentionShape(
                heads, kvHeads, headDim, (float) (1 / Math.sqrt(headDim)), window);
    }

    private static CachedAttentionCase of(
            AttentionShape shape,
            List<Integer> cached,
            List<Integer> lengths,
            int padding,
            int capacity,
            DType dtype,
            Layout layout) {
        return new CachedAttentionCase(shape, cached, lengths, padding, capacity, dtype, layout);
    }

    @Override
    public Problem<CachedAttentionKernel> problem() {
        var p = new Problem<CachedAttentionKernel>("cached_attention " + this);
        int[] cuSeqlens = AttentionCase.cumulative(lengths);
        int sequences = lengths.size();
        int rows = cuSeqlens[sequences] + padding;
        int pair = 2 * shape.keyCols();
        Tolerance tolerance =
                Tolerance.rounding(dtype, dtype, capacity + shape.headDim())
                        .times(2, "exponentials magnify errors of the scores");
        Slot qkv = p.input("qkv", dtype, rows, shape.fusedCols(), layout, Fill.normal(1));
        Slot cu = p.ints("cuSeqlens", cuSeqlens);
        Slot counts =
                p.input(
                        "cached",
                        I32,
                        1,
                        sequences,
                        Layout.ODD,
                        (random, r, c) -> cached.get((int) c));
        Slot out = p.output("out", dtype, rows, shape.queryCols(), layout, tolerance);
        Slot cache = p.scratch("cache", dtype, (long) sequences * capacity, pair, layout);
        List<Slot> reads = new ArrayList<>(List.of(qkv, cu, counts));
        List<Slot> writes = new ArrayList<>(List.of(out));
        double pairs = 0;
        for (int i = 0; i < sequences; i++) {
            int before = cached.get(i);
            int more = lengths.get(i);
            long row = (long) i * capacity;
            reads.add(
                    p.block(
                            "past." + i,
                            cache,
                            row,
                            before,
                            0,
                            pair,
                            Optional.of(Fill.normal(1)),
                            Optional.empty()));
            writes.add(
                    p.block(
                            "appended." + i,
                            cache,
                            row + before,
                            more,
                            0,
                            pair,
                            Optional.empty(),
                            Optional.of(Tolerance.exact("keys and values are copied"))));
            pairs += more * (before + 0.5 * (more + 1));
        }
        p.pass(
                "forward",
                4 * pairs * shape.queryCols(),
                reads,
                writes,
                (k, t) ->
                        k.forward(
                                t.apply(out),
                                t.apply(cache),
                                t.apply(qkv),
                                t.apply(cu),
                                t.apply(counts),
                                shape,
                                capacity));
        return p;
    }
}
