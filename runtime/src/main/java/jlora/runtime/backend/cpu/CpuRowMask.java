package jlora.runtime.backend.cpu;

import jlora.runtime.kernel.RowMaskKernel;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;

/** {@link RowMaskKernel} by runs of columns that belong to the same adapter. */
final class CpuRowMask implements RowMaskKernel {
    private record Run(int adapter, Tensor columns) {}

    private final CpuPool pool;

    CpuRowMask(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public void apply(Tensor u, Tensor adapterOfRow, int[] adapterOfColumn) {
        List<Run> runs = runs(u, adapterOfColumn);
        pool.run(
                u.rows(),
                Rows.grain(u.cols()),
                (part, from, to) -> {
                    for (long row = from; row < to; row++) {
                        int adapter = Rows.i32(adapterOfRow, row);
                        for (Run run : runs) {
                            if (run.adapter() != adapter) {
                                Rows.clear(run.columns(), row);
                            }
                        }
                    }
                });
    }

    private static List<Run> runs(Tensor u, int[] adapterOfColumn) {
        if (adapterOfColumn.length != u.cols()) {
            throw new IllegalArgumentException(
                    adapterOfColumn.length + " columns have an adapter in " + u.describe());
        }
        List<Run> runs = new ArrayList<>();
        int start = 0;
        for (int c = 1; c <= adapterOfColumn.length; c++) {
            if (c == adapterOfColumn.length || adapterOfColumn[c] != adapterOfColumn[start]) {
                runs.add(new Run(adapterOfColumn[start], u.columns(start, c - start)));
                start = c;
            }
        }
        return runs;
    }
}
