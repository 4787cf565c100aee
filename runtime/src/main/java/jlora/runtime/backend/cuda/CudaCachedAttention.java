package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.CachedAttentionKernel;
import jlora.runtime.tensor.Tensor;

/**
 * {@link CachedAttentionKernel}. The caller keeps a sequence within the cache's capacity: the GPU
 * cannot complain, and leaves tokens beyond it out.
 */
final class CudaCachedAttention implements CachedAttentionKernel {
    private static final int WARP = 32;
    private static final int WARPS = 4;

    /** Blocks per multiprocessor that hide the latency of memory. */
    private static final int BLOCKS = 8;

    /** Positions below which a share costs more to combine than it saves. */
    private static final int POSITIONS = 64;

    private final CudaKernels kernels;

    CudaCachedAttention(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(
            Tensor out,
            Tensor cache,
            Tensor qkv,
            Tensor cuSeqlens,
            Tensor cached,
            AttentionShape shape,
            int capacity) {
        long tokens = qkv.rows();
        if (tokens == 0) {
            return;
        }
        long sequences = cuSeqlens.cols() - 1;
        kernels.call("cached_attention_append", qkv.dtype())
                .tensor(cache)
                .i64(cache.stride())
                .tensor(qkv)
                .i64(qkv.stride())
                .tensor(cuSeqlens)
                .tensor(cached)
                .i32(sequences)
                .i32(tokens)
                .i32(shape.queryCols())
                .i32(2L * shape.keyCols())
                .i32(capacity)
                .launch(LaunchShape.of(tokens, WARP * WARPS));
        long blocks = Math.ceilDiv(shape.heads(), WARPS);
        long partBytes = tokens * shape.heads() * (2L + shape.headDim()) * Float.BYTES;
        long shares = shares(tokens * blocks, shape, capacity, partBytes);
        long parts = shares == 1 ? 0 : kernels.scratch(shares * partBytes);
        boolean vectors =
                CudaKernels.aligned(qkv, cache) && shape.headDim() * qkv.dtype().bytes() % 16 == 0;
        kernels.call(
                        "cached_attention_attend"
                                + CudaKernels.suffix(qkv.dtype())
                                + (vectors ? "" : "_scalar"))
                .tensor(out)
                .i64(out.stride())
                .pointer(parts)
                .tensor(cache)
                .i64(cache.stride())
                .tensor(qkv)
                .i64(qkv.stride())
                .tensor(cuSeqlens)
                .tensor(cached)
                .i32(sequences)
                .i32(tokens)
                .i32(shape.heads())
                .i32(shape.kvHeads())
                .i32(shape.headDim())
                .f32(shape.scale())
                .i32(OwnAttention.span(shape))
                .i32(capacity)
                .launch(LaunchShape.of(tokens, blocks, shares, WARP * WARPS));
        if (shares > 1) {
            kernels.call("cached_attention_combine", qkv.dtype())
                    .tensor(out)
                    .i64(out.stride())
                    .pointer(parts)
                    .i32(shares)
                    .i32(tokens)
                    .i32(shape.heads())
                    .i32(shape.headDim())
                    .launch(
                            LaunchShape.of(
                                    Math.ceilDiv(tokens * shape.heads(), WARPS), WARP * WARPS));
        }
    }

    /**
     * Into how many shares the positions of a token are divided: enough blocks for the device, and
     * a fixed number for a plan, whatever the cache holds when it runs.
     */
    private long shares(long blocks, AttentionShape shape, int capacity, long partBytes) {
        int longest = shape.window() == 0 ? capacity : Math.min(capacity, shape.window());
        long wanted = Math.ceilDiv((long) BLOCKS * kernels.device().multiprocessors(), blocks);
        long useful = Math.ceilDiv(longest, POSITIONS);
        long fitting = CudaKernels.SCRATCH_BYTES / partBytes;
        return Math.max(1, Math.min(Math.min(wanted, useful), Math.min(fitting, 256)));
    }
}
