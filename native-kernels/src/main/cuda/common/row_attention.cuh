// Softmax attention of one query by one warp: any head size, alignment and storage type. Lanes own keys for the
// scores and columns for the sums; sums are in the order of the keys.
#pragma once

#include "reduce.cuh"
#include "vector.cuh"

namespace row_attention {

// Columns that a warp sums at a time: heads with more take several rounds.
constexpr int COLUMNS = 256;
constexpr int PER_LANE = COLUMNS / WARP;

struct State {
    // Of the scaled scores.
    float maximum;
    // Σ exp(score − maximum)
    float total;
    // Σ exp(score − maximum)·value, of columns first + lane, first + lane + 32 and on.
    float sums[PER_LANE];

    __device__ __forceinline__ State() : maximum(-INFINITY), total(0.f) {
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            sums[i] = 0.f;
        }
    }
};

// W elements at a time: that many divide cols, and rows are aligned to them.
template <int W, class T>
__device__ __forceinline__ float dot(const T* a, const T* b, int cols) {
    float sum = 0.f;
    for (int c = 0; c < cols; c += W) {
        float x[W], y[W];
        load<W>(x, a + c);
        load<W>(y, b + c);
#pragma unroll
        for (int i = 0; i < W; i++) {
            sum = fmaf(x[i], y[i], sum);
        }
    }
    return sum;
}

// sums += Σ over the warp's 32 weights of weight·row, rows from `rows` on, `stride` elements from one to the
// next; a weight of 0 reads no row.
template <class T>
__device__ __forceinline__ void add_weighted(
        float (&sums)[PER_LANE], float weight, const T* rows, long long stride, int first, int cols) {
    const int lane = threadIdx.x % WARP;
    for (int k = 0; k < WARP; k++) {
        const float w = __shfl_sync(FULL_WARP, weight, k);
        if (w == 0.f) {
            continue;
        }
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            const int c = first + lane + i * WARP;
            if (c < cols) {
                sums[i] = fmaf(w, to_float(rows[k * stride + c]), sums[i]);
            }
        }
    }
}

// Attends to keys `from` to `to`, of which those with mask[key] == 0 are hidden (mask may be null). Columns
// from `first` on are summed.
template <int W, class T>
__device__ __forceinline__ void attend(
        State& state,
        const T* query,
        const T* keys,
        const T* values,
        long long stride,
        const int* mask,
        int from,
        int to,
        int first,
        int cols,
        float scale) {
    const int lane = threadIdx.x % WARP;
    for (int base = from; base < to; base += WARP) {
        const int key = base + lane;
        const bool seen = key < to && (mask == nullptr || mask[key] != 0);
        const float score = seen ? scale * dot<W>(query, keys + key * stride, cols) : -INFINITY;
        const float maximum = fmaxf(state.maximum, warp_max(score));
        if (maximum == -INFINITY) {
            continue;
        }
        const float correction = expf(state.maximum - maximum);
        const float weight = expf(score - maximum);
        state.maximum = maximum;
        state.total = state.total * correction + warp_sum(weight);
#pragma unroll
        for (int i = 0; i < PER_LANE; i++) {
            state.sums[i] *= correction;
        }
        add_weighted(state.sums, weight, values + base * stride, stride, first, cols);
    }
}

// to[first + lane ..] = factor·sums
template <class T>
__device__ __forceinline__ void store_columns(
        T* to, const float (&sums)[PER_LANE], float factor, int first, int cols) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < PER_LANE; i++) {
        const int c = first + lane + i * WARP;
        if (c < cols) {
            to[c] = from_float<T>(factor * sums[i]);
        }
    }
}

}  // namespace row_attention
