package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.kernel.EmbeddingKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/** {@link EmbeddingKernel} by embedding.cu. */
final class CudaEmbedding implements EmbeddingKernel {
    private static final int THREADS = 256;

    private final CudaKernels kernels;

    CudaEmbedding(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(
            Tensor out,
            Tensor ids,
            Tensor positions,
            Tensor table,
            Optional<Tensor> positionTable) {
        Tensor second = positionTable.orElse(table);
        PackedRows rows = PackedRows.of(out.rows(), out.cols(), out, table, second);
        rows.launch(
                kernels,
                kernels.call("embedding_forward" + rows.suffix())
                        .rows(out)
                        .tensor(ids)
                        .rows(table)
                        .i64(table.rows())
                        .tensor(positions)
                        .rows(positionTable)
                        .i64(second.rows())
                        .i64(out.rows())
                        .i64(out.cols()));
    }

    @Override
    public void backward(
            Optional<Grad> dTable,
            Optional<Grad> dPositionTable,
            Tensor dOut,
            Tensor ids,
            Tensor positions) {
        dTable.ifPresent(target -> addRows(target.tensor(), dOut, ids));
        dPositionTable.ifPresent(target -> addRows(target.tensor(), dOut, positions));
    }

    private void addRows(Tensor dTable, Tensor dOut, Tensor ids) {
        long tokens = dOut.rows();
        if (tokens == 0) {
            return;
        }
        long listBytes = dTable.rows() * Integer.BYTES;
        long first = kernels.scratch(2 * listBytes);
        long last = first + listBytes;
        kernels.call("embedding_clear")
                .pointer(first)
                .pointer(last)
                .i64(dTable.rows())
                .i32(tokens)
                .launch(LaunchShape.of(Math.ceilDiv(dTable.rows(), (long) THREADS), THREADS));
        kernels.call("embedding_find")
                .pointer(first)
                .pointer(last)
                .tensor(ids)
                .i64(dTable.rows())
                .i32(tokens)
                .launch(LaunchShape.of(Math.ceilDiv(tokens, (long) THREADS), THREADS));
        PackedRows rows = PackedRows.of(tokens, dOut.cols(), dOut);
        long strips = Math.ceilDiv(dOut.cols(), (long) rows.pack() * THREADS);
        kernels.call("embedding_add_rows" + rows.suffix())
                .rows(dTable)
                .rows(dOut)
                .tensor(ids)
                .pointer(first)
                .pointer(last)
                .i64(dTable.rows())
                .i32(tokens)
                .i64(dOut.cols())
                .launch(LaunchShape.of(tokens, strips, 1, THREADS));
    }
}
