// RMS norm of a residual stream: s = x + residual, out = s·r·w with r = rstd = 1/√(mean(s²) + eps).
//
// x, residual, sum, out, d_out, d_sum, d_x: [T,C]; w [C]; rstd f32 [T]; partial, d_weight: f32.
// forward writes out, rstd and (where there is a residual) sum, all with =. backward writes d_x with =, and its
// _weight variant one row of partial per team of threads with =; finish writes d_weight with = or +=.
// Bytes per element, in units of the storage type: forward 2, with a residual 4; backward 3, with d_sum 4.
#include "common/norm.cuh"

namespace rms_norm {

template <class T, int HELD, int N>
__device__ __forceinline__ void forward(
        T* out,
        long long out_stride,
        float* rstd,
        long long rstd_stride,
        T* sum,
        long long sum_stride,
        const T* x,
        long long x_stride,
        const T* residual,
        long long residual_stride,
        const T* __restrict__ weight,
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
    float squares = 0.f;
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        squares = fmaf(s[i], s[i], squares);
    }
    const float r = 1.f / sqrtf(team.sum(squares) / static_cast<float>(cols) + eps);
    if (team.thread == 0) {
        rstd[row * rstd_stride] = r;
    }
    T* const to = out + row * out_stride;
    for_each_held<HELD, N>(team, cols, [&](int held, int col) {
        float w[N];
        load<N>(w, weight + col);
#pragma unroll
        for (int i = 0; i < N; i++) {
            w[i] *= s[held + i] * r;
        }
        store<N>(to + col, w);
    });
}

// With g = d_out·w: out_j = s_j·r·w_j and dr/ds_i = −r³·s_i/C, so ds_i = r·g_i − s_i·r³/C·Σ g_j·s_j. What does not
// need that sum, d_sum_i + r·g_i, takes the place of g_i before the sum is formed: all loads are under way by then.
template <class T, int HELD, int N, bool WEIGHT>
__device__ __forceinline__ void backward(
        T* d_x,
        long long d_x_stride,
        float* __restrict__ partial,
        const T* d_out,
        long long d_out_stride,
        const T* d_sum,
        long long d_sum_stride,
        const T* sum,
        long long sum_stride,
        const T* __restrict__ weight,
        const float* __restrict__ rstd,
        long long rstd_stride,
        long long rows,
        int cols,
        int threads_per_row) {
    const RowTeam team(threads_per_row);
    float d_weight[HELD];
    if (WEIGHT) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            d_weight[i] = 0.f;
        }
    }
    for (long long row = team.team; row < rows; row += team.teams) {
        float s[HELD], g[HELD];
        load_row<N>(s, sum + row * sum_stride, team, cols);
        load_row<N>(g, d_out + row * d_out_stride, team, cols);
        const float r = rstd[row * rstd_stride];
        const T* const past = d_sum == nullptr ? nullptr : d_sum + row * d_sum_stride;
        float products = 0.f;
        for_each_held<HELD, N>(team, cols, [&](int held, int col) {
            float w[N], d[N];
            load<N>(w, weight + col);
            if (past != nullptr) {
                load<N>(d, past + col);
            }
#pragma unroll
            for (int i = 0; i < N; i++) {
                const float at = s[held + i];
                if (WEIGHT) {
                    d_weight[held + i] = fmaf(g[held + i], at * r, d_weight[held + i]);
                }
                const float scaled = g[held + i] * w[i];
                products = fmaf(scaled, at, products);
                g[held + i] = past == nullptr ? r * scaled : fmaf(r, scaled, d[i]);
            }
        });
        const float slope = r * r * r / static_cast<float>(cols) * team.sum(products);
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            g[i] = fmaf(-slope, s[i], g[i]);
        }
        store_row<N>(d_x + row * d_x_stride, g, team, cols);
    }
    if (WEIGHT) {
        store_row<N>(partial + team.team * cols, d_weight, team, cols);
    }
}

}  // namespace rms_norm

#define RMS_NORM(suffix, T, HELD, N)                                                                      \
    extern "C" __global__ void __launch_bounds__(NORM_THREADS) rms_norm_forward_##suffix(                 \
            T* out, long long out_stride, float* rstd, long long rstd_stride, T* sum,                     \
            long long sum_stride, const T* x, long long x_stride, const T* residual,                      \
            long long residual_stride, const T* weight, float eps, long long rows, int cols,              \
            int threads_per_row) {                                                                        \
        rms_norm::forward<T, HELD, N>(                                                                    \
                out, out_stride, rstd, rstd_stride, sum, sum_stride, x, x_stride, residual,               \
                residual_stride, weight, eps, rows, cols, threads_per_row);                               \
    }                                                                                                     \
    RMS_NORM_BACKWARD(backward, suffix, T, HELD, N, false)                                                \
    RMS_NORM_BACKWARD(backward_weight, suffix, T, HELD, N, true)

#define RMS_NORM_BACKWARD(name, suffix, T, HELD, N, WEIGHT)                                               \
    extern "C" __global__ void __launch_bounds__(NORM_THREADS) rms_norm_##name##_##suffix(                \
            T* d_x, long long d_x_stride, float* partial, const T* d_out, long long d_out_stride,         \
            const T* d_sum, long long d_sum_stride, const T* sum, long long sum_stride, const T* weight,  \
            const float* rstd, long long rstd_stride, long long rows, int cols, int threads_per_row) {    \
        rms_norm::backward<T, HELD, N, WEIGHT>(                                                           \
                d_x, d_x_stride, partial, d_out, d_out_stride, d_sum, d_sum_stride, sum, sum_stride,      \
                weight, rstd, rstd_stride, rows, cols, threads_per_row);                                  \
    }

FOR_NORM_ROWS(RMS_NORM)

extern "C" __global__ void rms_norm_finish(
        float* d_weight, const float* partial, int parts, int cols, int accumulate) {
    add_partials(d_weight, partial, parts, cols, accumulate);
}
