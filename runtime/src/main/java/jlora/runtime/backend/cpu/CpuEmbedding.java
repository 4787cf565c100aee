package jlora.runtime.backend.cpu;

import jlora.runtime.kernel.EmbeddingKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * {@link EmbeddingKernel}: forward by rows; backward by columns, so that tokens add to a table row
 * in their own order whatever the number of threads.
 */
final class CpuEmbedding implements EmbeddingKernel {
    private final CpuPool pool;

    CpuEmbedding(CpuPool pool) {
        this.pool = pool;
    }

    @Override
    public void forward(
            Tensor out,
            Tensor ids,
            Tensor positions,
            Tensor table,
            Optional<Tensor> positionTable) {
        int cols = (int) out.cols();
        pool.run(
                out.rows(),
                Rows.grain(cols),
                (part, from, to) -> {
                    float[] sum = new float[VectorMath.padded(cols)];
                    float[] other = new float[sum.length];
                    for (long row = from; row < to; row++) {
                        Rows.load(sum, 0, table, index(ids, row, table));
                        if (positionTable.isPresent()) {
                            Tensor second = positionTable.get();
                            Rows.load(other, 0, second, index(positions, row, second));
                            Rows.add(sum, 0, other, 0, sum.length);
                        }
                        Rows.store(out, row, sum, 0);
                    }
                });
    }

    @Override
    public void backward(
            Optional<Grad> dTable,
            Optional<Grad> dPositionTable,
            Tensor dOut,
            Tensor ids,
            Tensor positions) {
        dTable.ifPresent(target -> scatter(target.tensor(), dOut, ids));
        dPositionTable.ifPresent(target -> scatter(target.tensor(), dOut, positions));
    }

    private void scatter(Tensor to, Tensor dOut, Tensor rowOf) {
        pool.run(
                dOut.cols(),
                64,
                (part, from, end) -> {
                    int count = (int) (end - from);
                    float[] sum = new float[VectorMath.padded(count)];
                    float[] other = new float[sum.length];
                    for (long row = 0; row < dOut.rows(); row++) {
                        int target = index(rowOf, row, to);
                        Rows.load(sum, 0, to, target, from, count);
                        Rows.load(other, 0, dOut, row, from, count);
                        Rows.add(sum, 0, other, 0, sum.length);
                        Rows.store(to, target, from, sum, 0, count);
                    }
                });
    }

    private static int index(Tensor ids, long row, Tensor table) {
        int id = Rows.i32(ids, row);
        if (id < 0 || id >= table.rows()) {
            throw new IllegalArgumentException(
                    ids.name() + "[" + row + "] = " + id + " is not a row of " + table.describe());
        }
        return id;
    }
}
