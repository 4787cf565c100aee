// Attention where attention.cu does not apply: f32 storage, rows that are not aligned, head sizes that are odd or
// above 256, scales that are not positive. Right for everything, one warp per row and head; see attention.cu for
// the formulas. All outputs are written with =.

#include "common/row_attention.cuh"
#include "common/sequences.cuh"

namespace attention_simple {

using namespace row_attention;

constexpr int WARPS = 4;

struct Place {
    sequences::Span span;
    int row;
    int head;
};

// The row and the head of this warp; false behind the last one.
__device__ __forceinline__ bool find(
        Place& place, const int* cu_seqlens, int sequences, int tokens, int first_head, int heads) {
    const long long item = static_cast<long long>(blockIdx.x) * WARPS + threadIdx.x / WARP;
    if (item >= static_cast<long long>(tokens) * heads) {
        return false;
    }
    place.row = static_cast<int>(item / heads);
    place.head = first_head + static_cast<int>(item % heads);
    sequences::find_row(place.span, cu_seqlens, sequences, tokens, place.row);
    return true;
}

template <class T>
__device__ __forceinline__ void forward(
        T* out,
        long long out_stride,
        float* lse,
        long long lse_stride,
        const T* qkv,
        long long stride,
        const int* cu_seqlens,
        const int* key_mask,
        int sequences,
        int tokens,
        int heads,
        int kv_heads,
        int head_dim,
        float scale,
        int window) {
    Place place;
    if (!find(place, cu_seqlens, sequences, tokens, 0, heads)) {
        return;
    }
    const int kv_head = place.head / (heads / kv_heads);
    const int t = place.span.first;
    const bool inside = place.span.index < sequences;
    const T* const query = qkv + place.row * stride + static_cast<long long>(place.head) * head_dim;
    const T* const keys =
            qkv + place.span.start * stride + static_cast<long long>(heads + kv_head) * head_dim;
    const T* const values = keys + static_cast<long long>(kv_heads) * head_dim;
    const int* const mask = key_mask == nullptr ? nullptr : key_mask + place.span.start;
    T* const to = out + place.row * out_stride + static_cast<long long>(place.head) * head_dim;
    for (int first = 0; first < head_dim; first += COLUMNS) {
        State state;
        if (inside) {
            attend<1>(
                    state, query, keys, values, stride, mask, max(0, t - window + 1), t + 1, first, head_dim,
                    scale);
        }
        store_columns(to, state.sums, state.total == 0.f ? 0.f : 1.f / state.total, first, head_dim);
        if (threadIdx.x % WARP == 0 && first == 0) {
            lse[place.row * lse_stride + place.head] =
                    state.total == 0.f ? -INFINITY : state.maximum + logf(state.total);
        }
    }
}

// delta: f32 [heads of this launch][T], the first part of the backward.
template <class T>
__device__ __forceinline__ void query_gradient(
        T* d_qkv,
        long long d_qkv_stride,
        float* delta,
        const T* d_out,
        long long d_out_stride,
        const T* out,
        long long out_stride,
        const float* lse,
        long long lse_stride,
        int first_head,
        int launch_heads,
        const T* qkv,
        long long stride,
        const int* cu_seqlens,
        const int* key_mask,
        int sequences,
        int tokens,
        int heads,
        int kv_heads,
        int head_dim,
        float scale,
        int window) {
    Place place;
    if (!find(place, cu_seqlens, sequences, tokens, first_head, launch_heads)) {
        return;
    }
    const int lane = threadIdx.x % WARP;
    const int kv_head = place.head / (heads / kv_heads);
    const int t = place.span.first;
    const long long col = static_cast<long long>(place.head) * head_dim;
    const T* const query = qkv + place.row * stride + col;
    const T* const d_row = d_out + place.row * d_out_stride + col;
    const T* const keys =
            qkv + place.span.start * stride + static_cast<long long>(heads + kv_head) * head_dim;
    const T* const values = keys + static_cast<long long>(kv_heads) * head_dim;
    const int* const mask = key_mask == nullptr ? nullptr : key_mask + place.span.start;
    const float row_lse = lse[place.row * lse_stride + place.head];
    const bool sees = place.span.index < sequences && row_lse != -INFINITY;
    float row_delta = 0.f;
    if (sees) {
        for (int c = lane; c < head_dim; c += WARP) {
            row_delta = fmaf(to_float(d_row[c]), to_float(out[place.row * out_stride + col + c]), row_delta);
        }
        row_delta = warp_sum(row_delta);
    }
    if (lane == 0) {
        delta[static_cast<long long>(place.head - first_head) * tokens + place.row] = row_delta;
    }
    for (int first = 0; first < head_dim; first += COLUMNS) {
        State state;
        const int end = sees ? t + 1 : 0;
        for (int base = max(0, t - window + 1); base < end; base += WARP) {
            const int key = base + lane;
            float d_score = 0.f;
            if (key < end && (mask == nullptr || mask[key] != 0)) {
                const float p = expf(scale * dot<1>(query, keys + key * stride, head_dim) - row_lse);
                d_score = p * (dot<1>(d_row, values + key * stride, head_dim) - row_delta);
            }
            add_weighted(state.sums, d_score, keys + base * stride, stride, first, head_dim);
        }
        store_columns(d_qkv + place.row * d_qkv_stride + col, state.sums, scale, first, head_dim);
    }
}

// Key heads from first_kv_head on; delta begins with the first one's first query head.
template <class T>
__device__ __forceinline__ void key_gradient(
        T* d_qkv,
        long long d_qkv_stride,
        const float* delta,
        const T* d_out,
        long long d_out_stride,
        const float* lse,
        long long lse_stride,
        int first_kv_head,
        int launch_kv_heads,
        const T* qkv,
        long long stride,
        const int* cu_seqlens,
        const int* key_mask,
        int sequences,
        int tokens,
        int heads,
        int kv_heads,
        int head_dim,
        float scale,
        int window) {
    Place place;
    if (!find(place, cu_seqlens, sequences, tokens, first_kv_head, launch_kv_heads)) {
        return;
    }
    const int lane = threadIdx.x % WARP;
    const int group = heads / kv_heads;
    const int u = place.span.first;
    const int start = place.span.start;
    const long long key_col = static_cast<long long>(heads + place.head) * head_dim;
    const long long value_col = key_col + static_cast<long long>(kv_heads) * head_dim;
    const T* const key = qkv + place.row * stride + key_col;
    const T* const value = qkv + place.row * stride + value_col;
    const bool shown =
            place.span.index < sequences && (key_mask == nullptr || key_mask[place.row] != 0);
    const int end =
            shown ? static_cast<int>(min(static_cast<long long>(place.span.length), static_cast<long long>(u) + window))
                  : 0;
    for (int first = 0; first < head_dim; first += COLUMNS) {
        State d_key;
        State d_value;
        for (int in_group = 0; in_group < group; in_group++) {
            const int head = place.head * group + in_group;
            const long long col = static_cast<long long>(head) * head_dim;
            const T* const queries = qkv + start * stride + col;
            const T* const d_rows = d_out + start * d_out_stride + col;
            for (int base = u; base < end; base += WARP) {
                const int t = base + lane;
                float p = 0.f;
                float d_score = 0.f;
                if (t < end) {
                    const float row_lse = lse[(start + t) * lse_stride + head];
                    p = row_lse == -INFINITY
                            ? 0.f
                            : expf(scale * dot<1>(queries + t * stride, key, head_dim) - row_lse);
                    const long long of_head = static_cast<long long>(head - first_kv_head * group) * tokens;
                    d_score = p * (dot<1>(d_rows + t * d_out_stride, value, head_dim) - delta[of_head + start + t]);
                }
                add_weighted(d_value.sums, p, d_rows + base * d_out_stride, d_out_stride, first, head_dim);
                add_weighted(d_key.sums, d_score, queries + base * stride, stride, first, head_dim);
            }
        }
        store_columns(d_qkv + place.row * d_qkv_stride + key_col, d_key.sums, scale, first, head_dim);
        store_columns(d_qkv + place.row * d_qkv_stride + value_col, d_value.sums, 1.f, first, head_dim);
    }
}

}  // namespace attention_simple

#define ATTENTION_LAYER(T)                                                                                    \
    const T *qkv, long long qkv_stride, const int *cu_seqlens, const int *key_mask, int sequences,            \
            int tokens, int heads, int kv_heads, int head_dim, float scale, int window
#define ATTENTION_LAYER_ARGUMENTS                                                                             \
    qkv, qkv_stride, cu_seqlens, key_mask, sequences, tokens, heads, kv_heads, head_dim, scale, window

#define ATTENTION_KERNELS(T, SUFFIX)                                                                          \
    extern "C" __global__ void attention_simple_forward_##SUFFIX(                                             \
            T* out, long long out_stride, float* lse, long long lse_stride, ATTENTION_LAYER(T)) {             \
        attention_simple::forward<T>(out, out_stride, lse, lse_stride, ATTENTION_LAYER_ARGUMENTS);            \
    }                                                                                                         \
    extern "C" __global__ void attention_simple_query_gradient_##SUFFIX(                                      \
            T* d_qkv, long long d_qkv_stride, float* delta, const T* d_out, long long d_out_stride,           \
            const T* out, long long out_stride, const float* lse, long long lse_stride, int first_head,       \
            int launch_heads, ATTENTION_LAYER(T)) {                                                           \
        attention_simple::query_gradient<T>(                                                                  \
                d_qkv, d_qkv_stride, delta, d_out, d_out_stride, out, out_stride, lse, lse_stride,            \
                first_head, launch_heads, ATTENTION_LAYER_ARGUMENTS);                                         \
    }                                                                                                         \
    extern "C" __global__ void attention_simple_key_gradient_##SUFFIX(                                        \
            T* d_qkv, long long d_qkv_stride, const float* delta, const T* d_out, long long d_out_stride,     \
            const float* lse, long long lse_stride, int first_kv_head, int launch_kv_heads,                   \
            ATTENTION_LAYER(T)) {                                                                             \
        attention_simple::key_gradient<T>(                                                                    \
                d_qkv, d_qkv_stride, delta, d_out, d_out_stride, lse, lse_stride, first_kv_head,              \
                launch_kv_heads, ATTENTION_LAYER_ARGUMENTS);                                                  \
    }

ATTENTION_KERNELS(float, f32)
ATTENTION_KERNELS(bf16, bf16)
