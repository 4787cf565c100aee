package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.RowMaskKernel;
import jlora.runtime.tensor.Tensor;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** {@link RowMaskKernel} by row_mask.cu. */
final class CudaRowMask implements RowMaskKernel {
    private final CudaKernels kernels;

    CudaRowMask(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void apply(Tensor u, Tensor adapterOfRow, int[] adapterOfColumn) {
        if (adapterOfColumn.length != u.cols()) {
            throw new IllegalArgumentException(
                    adapterOfColumn.length + " columns have an adapter in " + u.describe());
        }
        ByteBuffer table =
                ByteBuffer.allocate(adapterOfColumn.length * Integer.BYTES)
                        .order(ByteOrder.nativeOrder());
        table.asIntBuffer().put(adapterOfColumn);
        PackedRows rows = PackedRows.of(u.rows(), u.cols(), u);
        rows.launch(
                kernels,
                kernels.call("row_mask_apply" + rows.suffix())
                        .rows(u)
                        .tensor(adapterOfRow)
                        .pointer(kernels.tables().address(table.array()))
                        .i64(u.rows())
                        .i64(u.cols()));
    }
}
