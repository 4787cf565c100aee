package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.EmbeddingKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/** {@link EmbeddingKernel} by definition. */
public final class ReferenceEmbedding implements EmbeddingKernel {
    @Override
    public void forward(
            Tensor out,
            Tensor ids,
            Tensor positions,
            Tensor table,
            Optional<Tensor> positionTable) {
        for (long t = 0; t < out.rows(); t++) {
            for (long c = 0; c < out.cols(); c++) {
                double value = Elements.get(table, Elements.getInt(ids, 0, t), c);
                if (positionTable.isPresent()) {
                    value += Elements.get(positionTable.get(), Elements.getInt(positions, 0, t), c);
                }
                Elements.set(out, t, c, value);
            }
        }
    }

    @Override
    public void backward(
            Optional<Grad> dTable,
            Optional<Grad> dPositionTable,
            Tensor dOut,
            Tensor ids,
            Tensor positions) {
        dTable.ifPresent(grad -> addRows(grad.tensor(), dOut, ids));
        dPositionTable.ifPresent(grad -> addRows(grad.tensor(), dOut, positions));
    }

    /** Sums what one table row receives before it is rounded into the table. */
    private static void addRows(Tensor dTable, Tensor dOut, Tensor indices) {
        for (long v = 0; v < dTable.rows(); v++) {
            for (long c = 0; c < dTable.cols(); c++) {
                double sum = Elements.get(dTable, v, c);
                for (long t = 0; t < dOut.rows(); t++) {
                    if (Elements.getInt(indices, 0, t) == v) {
                        sum += Elements.get(dOut, t, c);
                    }
                }
                Elements.set(dTable, v, c, sum);
            }
        }
    }
}
