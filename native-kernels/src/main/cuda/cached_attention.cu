// Attention of new tokens to a cache of keys and values that they are appended to; for generation.
//
//   cache [S·capacity, 2·kv_heads·head_dim], rows [k | v]; sequence i owns the rows from i·capacity on.
//
// append copies the new keys and values. attend has a warp per new token, head and share of the positions that
// the token sees; with one share it writes the output, with more combine adds them up in their order. Nothing is
// computed twice and the cache is read once, which is what generating one token at a time costs; consecutive
// heads share a block, and so what it has read.

#include "common/row_attention.cuh"
#include "common/sequences.cuh"

namespace cached_attention {

using namespace row_attention;

constexpr int WARPS = 4;

// Row in the cache of a new token; false when it belongs to no sequence or is beyond the capacity.
__device__ __forceinline__ bool find(
        int& index,
        int& position,
        const int* cu_seqlens,
        const int* cached,
        int sequences,
        int tokens,
        int row,
        int capacity) {
    sequences::Span span;
    sequences::find_row(span, cu_seqlens, sequences, tokens, row);
    if (span.index == sequences) {
        return false;
    }
    index = span.index;
    position = cached[index] + span.first;
    return position < capacity;
}

template <class T>
__device__ __forceinline__ void append(
        T* cache,
        long long cache_stride,
        const T* qkv,
        long long qkv_stride,
        const int* cu_seqlens,
        const int* cached,
        int sequences,
        int tokens,
        int query_cols,
        int cols,
        int capacity) {
    const int row = blockIdx.x;
    int index;
    int position;
    if (!find(index, position, cu_seqlens, cached, sequences, tokens, row, capacity)) {
        return;
    }
    T* const to = cache + (static_cast<long long>(index) * capacity + position) * cache_stride;
    const T* const from = qkv + row * qkv_stride + query_cols;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) {
        to[c] = from[c];
    }
}

// parts: f32 [T, heads, shares, 2 + head_dim]: maximum, total, sums of one share.
template <class T, int W>
__device__ __forceinline__ void attend(
        T* out,
        long long out_stride,
        float* parts,
        const T* cache,
        long long cache_stride,
        const T* qkv,
        long long qkv_stride,
        const int* cu_seqlens,
        const int* cached,
        int sequences,
        int tokens,
        int heads,
        int kv_heads,
        int head_dim,
        float scale,
        int window,
        int capacity) {
    const int lane = threadIdx.x % WARP;
    const int head = blockIdx.y * WARPS + threadIdx.x / WARP;
    const int shares = gridDim.z;
    const int share = blockIdx.z;
    const int row = blockIdx.x;
    if (head >= heads) {
        return;
    }
    int index = 0;
    int position = 0;
    const bool inside = find(index, position, cu_seqlens, cached, sequences, tokens, row, capacity);
    const int lowest = max(0, position - window + 1);
    const int seen = inside ? position + 1 - lowest : 0;
    // Whole warps of keys, so that shares are equal but the last.
    const int length = (seen + shares * WARP - 1) / (shares * WARP) * WARP;
    const int from = lowest + min(seen, share * length);
    const int to = lowest + min(seen, (share + 1) * length);
    const int kv_head = head / (heads / kv_heads);
    const T* const query = qkv + row * qkv_stride + static_cast<long long>(head) * head_dim;
    const T* const keys = cache + static_cast<long long>(index) * capacity * cache_stride
                          + static_cast<long long>(kv_head) * head_dim;
    const T* const values = keys + static_cast<long long>(kv_heads) * head_dim;
    for (int first = 0; first < head_dim; first += COLUMNS) {
        State state;
        row_attention::attend<W>(
                state, query, keys, values, cache_stride, nullptr, from, to, first, head_dim, scale);
        if (shares == 1) {
            store_columns(
                    out + row * out_stride + static_cast<long long>(head) * head_dim, state.sums,
                    state.total == 0.f ? 0.f : 1.f / state.total, first, head_dim);
        } else {
            float* const part =
                    parts + ((static_cast<long long>(row) * heads + head) * shares + share) * (2 + head_dim);
            store_columns(part + 2, state.sums, 1.f, first, head_dim);
            if (lane == 0 && first == 0) {
                part[0] = state.maximum;
                part[1] = state.total;
            }
        }
    }
}

template <class T>
__device__ __forceinline__ void combine(
        T* out, long long out_stride, const float* parts, int shares, int tokens, int heads, int head_dim) {
    const int item = blockIdx.x * WARPS + threadIdx.x / WARP;
    if (item >= tokens * heads) {
        return;
    }
    const int lane = threadIdx.x % WARP;
    const float* const own = parts + static_cast<long long>(item) * shares * (2 + head_dim);
    float maximum = -INFINITY;
    for (int s = 0; s < shares; s++) {
        maximum = fmaxf(maximum, own[s * (2 + head_dim)]);
    }
    float total = 0.f;
    for (int s = 0; s < shares && maximum > -INFINITY; s++) {
        const float* const part = own + s * (2 + head_dim);
        total = fmaf(part[1], expf(part[0] - maximum), total);
    }
    const float inverse = total == 0.f ? 0.f : 1.f / total;
    T* const to = out + item / heads * out_stride + static_cast<long long>(item % heads) * head_dim;
    for (int c = lane; c < head_dim; c += WARP) {
        float sum = 0.f;
        for (int s = 0; s < shares && total != 0.f; s++) {
            const float* const part = own + s * (2 + head_dim);
            sum = fmaf(part[2 + c], expf(part[0] - maximum), sum);
        }
        to[c] = from_float<T>(sum * inverse);
    }
}

}  // namespace cached_attention

#define CACHED_ATTENTION_ATTEND(T, W, SUFFIX)                                                                 \
    extern "C" __global__ void cached_attention_attend_##SUFFIX(                                              \
            T* out, long long out_stride, float* parts, const T* cache, long long cache_stride, const T* qkv, \
            long long qkv_stride, const int* cu_seqlens, const int* cached, int sequences, int tokens,        \
            int heads, int kv_heads, int head_dim, float scale, int window, int capacity) {                   \
        cached_attention::attend<T, W>(                                                                       \
                out, out_stride, parts, cache, cache_stride, qkv, qkv_stride, cu_seqlens, cached, sequences,  \
                tokens, heads, kv_heads, head_dim, scale, window, capacity);                                  \
    }

#define CACHED_ATTENTION_KERNELS(T, SUFFIX)                                                                   \
    extern "C" __global__ void cached_attention_append_##SUFFIX(                                              \
            T* cache, long long cache_stride, const T* qkv, long long qkv_stride, const int* cu_seqlens,      \
            const int* cached, int sequences, int tokens, int query_cols, int cols, int capacity) {           \
        cached_attention::append<T>(                                                                          \
                cache, cache_stride, qkv, qkv_stride, cu_seqlens, cached, sequences, tokens, query_cols,      \
                cols, capacity);                                                                              \
    }                                                                                                         \
    CACHED_ATTENTION_ATTEND(T, Vector<T>::WIDTH, SUFFIX)                                                      \
    CACHED_ATTENTION_ATTEND(T, 1, SUFFIX##_scalar)                                                            \
    extern "C" __global__ void cached_attention_combine_##SUFFIX(                                             \
            T* out, long long out_stride, const float* parts, int shares, int tokens, int heads,              \
            int head_dim) {                                                                                   \
        cached_attention::combine<T>(out, out_stride, parts, shares, tokens, heads, head_dim);                \
    }

CACHED_ATTENTION_KERNELS(float, f32)
CACHED_ATTENTION_KERNELS(bf16, bf16)
