// What cuDNN's attention needs beside its own kernels: where sequences lie, in its terms, and the rows that belong
// to none, which it does not write.

#include "common/types.cuh"

namespace attention_sequences {

constexpr int TENSORS = 5;

// offsets: [TENSORS][row] of which sequences + 1 count, the first element of each sequence in tensors with these
// strides; lengths: [sequences]. One block.
__device__ __forceinline__ void offsets(
        long long* offsets,
        long long row,
        int* lengths,
        const int* cu_seqlens,
        int sequences,
        const long long (&strides)[TENSORS]) {
    for (int i = threadIdx.x; i <= sequences; i += blockDim.x) {
        const long long start = cu_seqlens[i];
#pragma unroll
        for (int j = 0; j < TENSORS; j++) {
            offsets[j * row + i] = start * strides[j];
        }
        if (i < sequences) {
            lengths[i] = static_cast<int>(cu_seqlens[i + 1] - start);
        }
    }
}

// rows [tokens, cols] from cu_seqlens[sequences] on = 0; lse [tokens, heads], which may be null, = −∞.
__device__ __forceinline__ void clear(
        bf16* rows,
        long long stride,
        int cols,
        float* lse,
        long long lse_stride,
        int heads,
        const int* cu_seqlens,
        int sequences,
        int tokens) {
    for (long long row = cu_seqlens[sequences] + static_cast<int>(blockIdx.x); row < tokens; row += gridDim.x) {
        for (int c = threadIdx.x; c < cols; c += blockDim.x) {
            rows[row * stride + c] = from_float<bf16>(0.f);
        }
        for (int head = threadIdx.x; lse != nullptr && head < heads; head += blockDim.x) {
            lse[row * lse_stride + head] = -INFINITY;
        }
    }
}

}  // namespace attention_sequences

extern "C" __global__ void attention_sequences_offsets(
        long long* offsets,
        long long row,
        int* lengths,
        const int* cu_seqlens,
        int sequences,
        long long qkv_stride,
        long long out_stride,
        long long lse_stride,
        long long d_out_stride,
        long long d_qkv_stride) {
    const long long strides[] = {qkv_stride, out_stride, lse_stride, d_out_stride, d_qkv_stride};
    attention_sequences::offsets(offsets, row, lengths, cu_seqlens, sequences, strides);
}

extern "C" __global__ void attention_sequences_clear_bf16(
        bf16* rows,
        long long stride,
        int cols,
        float* lse,
        long long lse_stride,
        int heads,
        const int* cu_seqlens,
        int sequences,
        int tokens) {
    attention_sequences::clear(rows, stride, cols, lse, lse_stride, heads, cu_seqlens, sequences, tokens);
}
