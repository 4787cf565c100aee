// Layer norm of a residual stream: s = x + residual, out = h·w + b with h = (s − mean)·r, r = 1/√(var(s) + eps), the
// variance being the biased one.
//
// x, residual, sum, out, d_out, d_sum, d_x: [T,C]; w, b [C]; stats f32 [T,2]: mean and r; partials, d_weight,
// d_bias: f32.
// forward writes out, stats and (where there is a residual) sum, all with =. backward writes d_x with =, and its
// _weight variant one row of either partial per team of threads with =; finish writes d_weight or d_bias with = or +=.
// Bytes per element, in units of the storage type: forward 2, with a residual 4; backward 3, with d_sum 4.
#include "common/norm.cuh"

namespace layer_norm {

// The variance is that of the centred row: a difference of large numbers would lose it where the mean is large.
template <class T, int HELD, int N>
__device__ __forceinline__ void forward(
        T* out,
        long long out_stride,
        float* stats,
        long long stats_stride,
        T* sum,
        long long sum_stride,
        const T* x,
        long long x_stride,
        const T* residual,
        long long residual_stride,
        const T* __restrict__ weight,
        const T* __restrict__ bias,
        float eps,
        long long rows,
        int cols,
        int threads_per_row) {
    const RowTeam team(threads_per_row);
    const long long row = team.team;
    if (row >= rows) {
        return;
    }
    float s[HELD];
    const T* const added = residual == nullptr ? nullptr : residual + row * residual_stride;
    load_sum<N>(s, sum + row * sum_stride, x + row * x_stride, added, team, cols);
    float total = 0.f;
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        total += s[i];
    }
    const float mean = team.sum(total) / static_cast<float>(cols);
    float squares = 0.f;
    for_each_held<HELD, N>(team, cols, [&](int held, int) {
#pragma unroll
        for (int i = 0; i < N; i++) {
            s[held + i] -= mean;
            squares = fmaf(s[held + i], s[held + i], squares);
        }
    });
    const float r = 1.f / sqrtf(team.sum(squares) / static_cast<float>(cols) + eps);
    if (team.thread == 0) {
        stats[row * stats_stride] = mean;
        stats[row * stats_stride + 1] = r;
    }
    T* const to = out + row * out_stride;
    for_each_held<HELD, N>(team, cols, [&](int held, int col) {
        float w[N], b[N];
        load<N>(w, weight + col);
        load<N>(b, bias + col);
#pragma unroll
        for (int i = 0; i < N; i++) {
            w[i] = fmaf(s[held + i] * r, w[i], b[i]);
        }
        store<N>(to + col, w);
    });
}

// With g = d_out·w the gradient of s is r·(g − mean(g) − h·mean(g·h)): what would change the row's mean or its length
// is projected out. What does not need the means, d_sum + r·g, takes the place of g before they are formed: all loads
// are under way by then.
template <class T, int HELD, int N, bool WEIGHT>
__device__ __forceinline__ void backward(
        T* d_x,
        long long d_x_stride,
        float* __restrict__ weight_partial,
        float* __restrict__ bias_partial,
        const T* d_out,
        long long d_out_stride,
        const T* d_sum,
        long long d_sum_stride,
        const T* sum,
        long long sum_stride,
        const T* __restrict__ weight,
        const float* __restrict__ stats,
        long long stats_stride,
        long long rows,
        int cols,
        int threads_per_row) {
    const RowTeam team(threads_per_row);
    float d_weight[HELD], d_bias[HELD];
    if (WEIGHT) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            d_weight[i] = 0.f;
            d_bias[i] = 0.f;
        }
    }
    for (long long row = team.team; row < rows; row += team.teams) {
        float h[HELD], g[HELD];
        load_row<N>(h, sum + row * sum_stride, team, cols);
        load_row<N>(g, d_out + row * d_out_stride, team, cols);
        const float mean = stats[row * stats_stride];
        const float r = stats[row * stats_stride + 1];
        const T* const past = d_sum == nullptr ? nullptr : d_sum + row * d_sum_stride;
        float total = 0.f, products = 0.f;
        for_each_held<HELD, N>(team, cols, [&](int held, int col) {
            float w[N], d[N];
            load<N>(w, weight + col);
            if (past != nullptr) {
                load<N>(d, past + col);
            }
#pragma unroll
            for (int i = 0; i < N; i++) {
                const float normal = (h[held + i] - mean) * r;
                if (WEIGHT) {
                    d_weight[held + i] = fmaf(g[held + i], normal, d_weight[held + i]);
                    d_bias[held + i] += g[held + i];
                }
                const float scaled = g[held + i] * w[i];
                total += scaled;
                products = fmaf(scaled, normal, products);
                g[held + i] = past == nullptr ? r * scaled : fmaf(r, scaled, d[i]);
                h[held + i] = normal;
            }
        });
        const float shift = r / static_cast<float>(cols) * team.sum(total);
        const float slope = r / static_cast<float>(cols) * team.sum(products);
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            g[i] = fmaf(-slope, h[i], g[i] - shift);
        }
        store_row<N>(d_x + row * d_x_stride, g, team, cols);
    }
    if (WEIGHT) {
        store_row<N>(weight_partial + team.team * cols, d_weight, team, cols);
        store_row<N>(bias_partial + team.team * cols, d_bias, team, cols);
    }
}

}  // namespace layer_norm

#define LAYER_NORM(suffix, T, HELD, N)                                                                    \
    extern "C" __global__ void __launch_bounds__(NORM_THREADS) layer_norm_forward_##suffix(               \
            T* out, long long out_stride, float* stats, long long stats_stride, T* sum,                   \
            long long sum_stride, const T* x, long long x_stride, const T* residual,                      \
            long long residual_stride, const T* weight, const T* bias, float eps, long long rows,         \
            int cols, int threads_per_row) {                                                              \
        layer_norm::forward<T, HELD, N>(                                                                  \
                out, out_stride, stats, stats_stride, sum, sum_stride, x, x_stride, residual,             \
                residual_stride, weight, bias, eps, rows, cols, threads_per_row);                         \
    }                                                                                                     \
    LAYER_NORM_BACKWARD(backward, suffix, T, HELD, N, false)                                              \
    LAYER_NORM_BACKWARD(backward_weight, suffix, T, HELD, N, true)

#define LAYER_NORM_BACKWARD(name, suffix, T, HELD, N, WEIGHT)                                             \
    extern "C" __global__ void __launch_bounds__(NORM_THREADS) layer_norm_##name##_##suffix(              \
            T* d_x, long long d_x_stride, float* weight_partial, float* bias_partial, const T* d_out,     \
            long long d_out_stride, const T* d_sum, long long d_sum_stride, const T* sum,                 \
            long long sum_stride, const T* weight, const float* stats, long long stats_stride,            \
            long long rows, int cols, int threads_per_row) {                                              \
        layer_norm::backward<T, HELD, N, WEIGHT>(                                                         \
                d_x, d_x_stride, weight_partial, bias_partial, d_out, d_out_stride, d_sum, d_sum_stride,  \
                sum, sum_stride, weight, stats, stats_stride, rows, cols, threads_per_row);               \
    }

FOR_NORM_ROWS(LAYER_NORM)

extern "C" __global__ void layer_norm_finish(
        float* to, const float* partial, int parts, int cols, int accumulate) {
    add_partials(to, partial, parts, cols, accumulate);
}
