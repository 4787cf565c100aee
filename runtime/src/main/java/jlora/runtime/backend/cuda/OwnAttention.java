package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

/**
 * {@link AttentionKernel} by the project's own kernels: attention.cu where tensor cores apply,
 * attention_simple.cu for everything else.
 */
final class OwnAttention implements AttentionKernel {
    private static final int SIMPLE_WARPS = 4;

    private final CudaKernels kernels;

    OwnAttention(CudaKernels kernels) {
        this.kernels = kernels;
    }

    /** Rows in whole chunks of 16 bytes, each at a multiple of 16. */
    private static boolean tensorCores(AttentionShape shape, Tensor... tensors) {
        return tensors[0].dtype() == DType.BF16
                && shape.headDim() % 8 == 0
                && shape.headDim() <= AttentionTiles.largest()
                && shape.scale() > 0
                && CudaKernels.aligned(tensors);
    }

    @Override
    public void forward(
            Tensor out, Tensor lse, Tensor qkv, PackedSequences sequences, AttentionShape shape) {
        if (qkv.rows() == 0) {
            return;
        }
        boolean fast = tensorCores(shape, qkv, out);
        AttentionTiles tiles = fast ? AttentionTiles.of(shape.headDim()) : null;
        String kernel = fast ? tiles.kernel("forward") : "attention_simple_forward";
        CudaKernels.Call call =
                kernels.call(kernel, qkv.dtype())
                        .tensor(out)
                        .i64(out.stride())
                        .tensor(lse)
                        .i64(lse.stride());
        layer(call, qkv, sequences, shape)
                .launch(
                        fast
                                ? tiled(shape.heads(), qkv, sequences, tiles.forwardRows())
                                        .shared(tiles.forwardBytes())
                                : perRow(qkv, shape.heads()));
    }

    @Override
    public void backward(
            Tensor dQkv,
            Tensor dOut,
            Tensor out,
            Tensor lse,
            Tensor qkv,
            PackedSequences sequences,
            AttentionShape shape) {
        if (qkv.rows() == 0) {
            return;
        }
        boolean fast = tensorCores(shape, qkv, out, dOut, dQkv);
        int group = shape.heads() / shape.kvHeads();
        // What the first kernel finds out about each row waits in scratch memory for the second: as
        // many key heads at a time as it has room for.
        long perHead = (qkv.rows() + sequences.count() + 2) * AttentionTiles.STATISTICS;
        long room = Math.max(1, CudaKernels.SCRATCH_BYTES / (perHead * group));
        for (int first = 0; first < shape.kvHeads(); first += (int) room) {
            int count = (int) Math.min(room, shape.kvHeads() - first);
            long scratch = kernels.scratch(perHead * group * count);
            if (fast) {
                tiled(dQkv, dOut, out, lse, qkv, sequences, shape, scratch, first, count);
            } else {
                simple(dQkv, dOut, out, lse, qkv, sequences, shape, scratch, first, count);
            }
        }
    }

    private void tiled(
            Tensor dQkv,
            Tensor dOut,
            Tensor out,
            Tensor lse,
            Tensor qkv,
            PackedSequences sequences,
            AttentionShape shape,
            long statistics,
            int firstKvHead,
            int kvHeads) {
        AttentionTiles tiles = AttentionTiles.of(shape.headDim());
        int group = shape.heads() / shape.kvHeads();
        CudaKernels.Call queries =
                kernels.call(tiles.kernel("query_gradient"), DType.BF16)
                        .tensor(dQkv)
                        .i64(dQkv.stride())
                        .pointer(statistics)
                        .tensor(dOut)
                        .i64(dOut.stride())
                        .tensor(out)
                        .i64(out.stride())
                        .tensor(lse)
                        .i64(lse.stride())
                        .i32((long) firstKvHead * group);
        layer(queries, qkv, sequences, shape)
                .launch(
                        tiled(kvHeads * group, qkv, sequences, tiles.queryRows())
                                .shared(tiles.queryBytes()));
        String[] parts =
                tiles.valuesApart()
                        ? new String[] {"key_gradient", "value_gradient"}
                        : new String[] {"key_gradient"};
        for (String part : parts) {
            CudaKernels.Call keys =
                    kernels.call(tiles.kernel(part), DType.BF16)
                            .tensor(dQkv)
                            .i64(dQkv.stride())
                            .pointer(statistics)
                            .tensor(dOut)
                            .i64(dOut.stride())
                            .i32(firstKvHead);
            layer(keys, qkv, sequences, shape)
                    .launch(
                            tiled(kvHeads, qkv, sequences, tiles.keyRows())
                                    .shared(tiles.keyBytes()));
        }
    }

    private void simple(
            Tensor dQkv,
            Tensor dOut,
            Tensor out,
            Tensor lse,
            Tensor qkv,
            PackedSequences sequences,
            AttentionShape shape,
            long delta,
            int firstKvHead,
            int kvHeads) {
        int group = shape.heads() / shape.kvHeads();
        CudaKernels.Call queries =
                kernels.call("attention_simple_query_gradient", qkv.dtype())
                        .tensor(dQkv)
                        .i64(dQkv.stride())
                        .pointer(delta)
                        .tensor(dOut)
                        .i64(dOut.stride())
                        .tensor(out)
                        .i64(out.stride())
                        .tensor(lse)
                        .i64(lse.stride())
                        .i32((long) firstKvHead * group)
                        .i32((long) kvHeads * group);
        layer(queries, qkv, sequences, shape).launch(perRow(qkv, kvHeads * group));
        CudaKernels.Call keys =
                kernels.call("attention_simple_key_gradient", qkv.dtype())
                        .tensor(dQkv)
                        .i64(dQkv.stride())
                        .pointer(delta)
                        .tensor(dOut)
                        .i64(dOut.stride())
                        .tensor(lse)
                        .i64(lse.stride())
                        .i32(firstKvHead)
                        .i32(kvHeads);
        layer(keys, qkv, sequences, shape).launch(perRow(qkv, kvHeads));
    }

    /** The arguments that all kernels end with. */
    private static CudaKernels.Call layer(
            CudaKernels.Call call, Tensor qkv, PackedSequences sequences, AttentionShape shape) {
        call.tensor(qkv).i64(qkv.stride()).tensor(sequences.cuSeqlens());
        sequences.keyMask().ifPresentOrElse(call::tensor, call::none);
        return call.i32(sequences.count())
                .i32(qkv.rows())
                .i32(shape.heads())
                .i32(shape.kvHeads())
                .i32(shape.headDim())
                .f32(shape.scale())
                .i32(span(shape));
    }

    /** Positions that a query sees. */
    static int span(AttentionShape shape) {
        return shape.window() == 0 ? Integer.MAX_VALUE : shape.window();
    }

    /**
     * A block per head and tile of rows. How the batch divides into sequences is data, so there are
     * as many tiles as any division into that many needs.
     */
    private static LaunchShape tiled(int heads, Tensor qkv, PackedSequences sequences, int rows) {
        long tiles = qkv.rows() / rows + sequences.count() + 1;
        return LaunchShape.of(heads, tiles, 1, AttentionTiles.THREADS);
    }

    private static LaunchShape perRow(Tensor qkv, int heads) {
        return LaunchShape.of(Math.ceilDiv(qkv.rows() * heads, SIMPLE_WARPS), SIMPLE_WARPS * 32);
    }
}
