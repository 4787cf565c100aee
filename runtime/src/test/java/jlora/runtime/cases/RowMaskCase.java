package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.RowMaskKernel;
import jlora.runtime.tensor.DType;

import java.util.ArrayList;
import java.util.List;

/** The mask of low-rank columns in a mixed batch; what is masked holds NaN and infinity first. */
public record RowMaskCase(int tokens, List<Integer> ranks, DType dtype, Layout layout)
        implements OpCase<RowMaskKernel> {
    public static List<OpCase<RowMaskKernel>> all() {
        List<OpCase<RowMaskKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(new RowMaskCase(1, List.of(1), dtype, Layout.ODD));
            cases.add(new RowMaskCase(9, List.of(3, 5), dtype, Layout.ODD));
            cases.add(new RowMaskCase(37, List.of(16, 8, 40), dtype, Layout.PADDED));
        }
        return cases;
    }

    /** Four adapters of rank 16, 512 tokens. */
    public static List<OpCase<RowMaskKernel>> speed() {
        return List.of(
                new RowMaskCase(512, List.of(16, 16, 16, 16), F32, Layout.PADDED),
                new RowMaskCase(512, List.of(16, 16, 16, 16), BF16, Layout.PADDED));
    }

    /** Row t belongs to the adapters in turn, with rows of none in between. */
    private int adapterOfRow(long row) {
        return (int) (row % (ranks.size() + 1)) - 1;
    }

    @Override
    public Problem<RowMaskKernel> problem() {
        var p = new Problem<RowMaskKernel>("row_mask " + this);
        int cols = ranks.stream().mapToInt(Integer::intValue).sum();
        int[] adapterOfColumn = new int[cols];
        int end = 0;
        for (int adapter = 0; adapter < ranks.size(); adapter++) {
            for (int i = 0; i < ranks.get(adapter); i++) {
                adapterOfColumn[end++] = adapter;
            }
        }
        int[] adapterOfRow = new int[tokens];
        for (int t = 0; t < tokens; t++) {
            adapterOfRow[t] = adapterOfRow(t);
        }
        Fill fill =
                (random, r, c) ->
                        adapterOfColumn[(int) c] == adapterOfRow(r)
                                ? random.nextGaussian()
                                : c % 2 == 0 ? Double.NaN : Double.NEGATIVE_INFINITY;
        Slot u =
                p.updated(
                        "u",
                        dtype,
                        tokens,
                        cols,
                        layout,
                        fill,
                        Tolerance.exact("values are kept or become zero"));
        Slot rows = p.ints("adapterOfRow", adapterOfRow);
        p.pass(
                "apply",
                0,
                List.of(rows),
                List.of(u),
                (k, t) -> k.apply(t.apply(u), t.apply(rows), adapterOfColumn));
        return p;
    }
}
