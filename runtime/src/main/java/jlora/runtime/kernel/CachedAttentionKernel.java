package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

/**
 * Attention of new tokens to themselves and to a cache of earlier keys and values, for generation.
 * Not differentiable: training sees whole sequences.
 */
public interface CachedAttentionKernel {
    /**
     * Appends the new keys and values to the cache, then attends.
     *
     * @param out [T, heads·headDim]
     * @param cache [S·capacity, 2·kvHeads·headDim]: a row is [k | v]; sequence i owns rows
     *     i·capacity and on
     * @param qkv [T, fusedCols] of the new tokens; rows cuSeqlens[i] to cuSeqlens[i+1] continue
     *     sequence i
     * @param cuSeqlens i32 [1,S+1], as in {@link PackedSequences}
     * @param cached i32 [1,S]: how many positions of each sequence the cache held before
     */
    void forward(
            Tensor out,
            Tensor cache,
            Tensor qkv,
            Tensor cuSeqlens,
            Tensor cached,
            AttentionShape shape,
            int capacity);
}
