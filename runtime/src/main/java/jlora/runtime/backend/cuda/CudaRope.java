package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.RopeKernel;
import jlora.runtime.tensor.Tensor;

/** {@link RopeKernel} by rope.cu. */
final class CudaRope implements RopeKernel {
    private final CudaKernels kernels;

    CudaRope(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void table(Tensor table, Tensor positions, Tensor inverseFrequencies, float scaling) {
        long half = inverseFrequencies.cols();
        PackedRows.of(table.rows(), half, false, table)
                .launch(
                        kernels,
                        kernels.call("rope_table")
                                .rows(table)
                                .tensor(positions)
                                .tensor(inverseFrequencies)
                                .f32(scaling)
                                .i64(table.rows())
                                .i64(half));
    }

    @Override
    public void forward(Tensor out, Tensor qkv, Tensor table, AttentionShape shape) {
        rotate(out, qkv, table, shape, 1);
    }

    @Override
    public void backward(Tensor dQkv, Tensor dOut, Tensor table, AttentionShape shape) {
        rotate(dQkv, dOut, table, shape, -1);
    }

    private void rotate(
            Tensor to, Tensor from, Tensor table, AttentionShape shape, float direction) {
        int half = shape.headDim() / 2;
        int heads = shape.heads() + 2 * shape.kvHeads();
        // A pack may not reach from one half of a head into the other.
        boolean aligned =
                CudaKernels.aligned(to, from, table) && half * to.dtype().bytes() % 16 == 0;
        PackedRows rows = PackedRows.of(to.rows(), (long) heads * half, aligned, to, from);
        rows.launch(
                kernels,
                kernels.call("rope_rotate" + rows.suffix())
                        .rows(to)
                        .rows(from)
                        .rows(table)
                        .i64(to.rows())
                        .i32(heads)
                        .i32(shape.heads() + shape.kvHeads())
                        .i32(half)
                        .f32(direction));
    }
}
