// The thin products of bordered weights by plain arithmetic: for f32 storage, and for rows that are not whole
// 16 bytes. Correct at any size and alignment, not fast; the arguments are those of low_rank.cu, sums are never
// split, and so there is no second kernel.
#include "common/low_rank.cuh"
#include "common/philox.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

namespace low_rank {

// Columns of the border that a thread works on at a time.
constexpr int SCALAR_COLUMNS = 8;

// Grid: rows by warps; parts.
template <class T>
__device__ __forceinline__ void forward_scalar(
        T* u,
        long long u_stride,
        const T* x,
        long long x_stride,
        const T* a,
        long long a_stride,
        const int* adapter_of_row,
        const int* rng,
        int tokens,
        int depth,
        const Table& table) {
    const long long row = static_cast<long long>(blockIdx.x) * (blockDim.x / WARP) + threadIdx.x / WARP;
    const int lane = threadIdx.x % WARP;
    if (row >= tokens) {
        return;
    }
    const Part& part = table.part[blockIdx.y];
    for (int j = 0; j < part.rank; j += SCALAR_COLUMNS) {
        float sums[SCALAR_COLUMNS] = {};
        for (int k = lane; k < depth && part.adapter != NO_ADAPTER; k += WARP) {
            const float kept = kept_factor(part, rng, static_cast<unsigned long long>(row) * depth + k);
            const float value = kept == 0.f ? 0.f : kept * to_float(x[row * x_stride + k]);
#pragma unroll
            for (int i = 0; i < SCALAR_COLUMNS; i++) {
                if (j + i < part.rank) {
                    sums[i] += value * to_float(a[(part.column + j + i) * a_stride + k]);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < SCALAR_COLUMNS; i++) {
            const float sum = warp_sum(sums[i]);
            if (lane == 0 && j + i < part.rank) {
                u[row * u_stride + part.column + j + i] = from_float<T>(owned(sum, &part, adapter_of_row, row));
            }
        }
    }
}

// Grid: rows by warps; parts.
template <class T>
__device__ __forceinline__ void output_scalar(
        T* du,
        long long du_stride,
        const T* dy,
        long long dy_stride,
        const T* b,
        long long b_stride,
        const int* adapter_of_row,
        int tokens,
        const Table& table) {
    const long long row = static_cast<long long>(blockIdx.x) * (blockDim.x / WARP) + threadIdx.x / WARP;
    const int lane = threadIdx.x % WARP;
    if (row >= tokens) {
        return;
    }
    const Part& part = table.part[blockIdx.y];
    for (int j = 0; j < part.rank; j += SCALAR_COLUMNS) {
        float sums[SCALAR_COLUMNS] = {};
        for (int n = lane; n < part.out; n += WARP) {
            const float value = to_float(dy[row * dy_stride + part.out_from + n]);
#pragma unroll
            for (int i = 0; i < SCALAR_COLUMNS; i++) {
                if (j + i < part.rank) {
                    sums[i] += value * to_float(b[(part.out_from + n) * b_stride + part.column + j + i]);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < SCALAR_COLUMNS; i++) {
            const float sum = warp_sum(sums[i]);
            if (lane == 0 && j + i < part.rank) {
                du[row * du_stride + part.column + j + i] = from_float<T>(owned(sum, &part, adapter_of_row, row));
            }
        }
    }
}

// The gradient of B (streamed is dY, side is U) or of A (X, dU). Grid: columns of the streamed operand; parts.
template <class T, bool OF_B>
__device__ __forceinline__ void gradient_scalar(
        const T* streamed,
        long long stride,
        const T* side,
        long long side_stride,
        const int* rng,
        int tokens,
        int columns,
        const Table& table) {
    const Part& part = table.part[blockIdx.y];
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (part.gradient == nullptr || column >= (OF_B ? part.out : columns)) {
        return;
    }
    for (int j = 0; j < part.rank; j += SCALAR_COLUMNS) {
        float sums[SCALAR_COLUMNS] = {};
        for (long long row = 0; row < tokens; row++) {
            const float kept = OF_B
                    ? 1.f
                    : kept_factor(part, rng, static_cast<unsigned long long>(row) * columns + column);
            if (kept == 0.f) {
                continue;
            }
            const float value = kept * to_float(streamed[row * stride + (OF_B ? part.out_from : 0) + column]);
#pragma unroll
            for (int i = 0; i < SCALAR_COLUMNS; i++) {
                if (j + i < part.rank) {
                    sums[i] += value * to_float(side[row * side_stride + part.column + j + i]);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < SCALAR_COLUMNS; i++) {
            if (j + i < part.rank) {
                float* const to = part.gradient
                        + (OF_B ? column * part.gradient_stride + j + i : (j + i) * part.gradient_stride + column);
                *to = (part.accumulate ? *to : 0.f) + (OF_B ? part.scale : 1.f) * sums[i];
            }
        }
    }
}

// Grid: columns; rows.
template <class T>
__device__ __forceinline__ void input_dropout_scalar(
        T* dx,
        long long dx_stride,
        const T* du,
        long long du_stride,
        const T* a,
        long long a_stride,
        const int* rng,
        int tokens,
        int columns,
        const Table& table) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) {
        return;
    }
    for (long long row = blockIdx.y; row < tokens; row += gridDim.y) {
        float total = 0.f;
        for (int p = 0; p < table.parts; p++) {
            const Part& part = table.part[p];
            const float kept = kept_factor(part, rng, static_cast<unsigned long long>(row) * columns + column);
            float sum = 0.f;
            for (int j = part.column; j < part.column + part.rank && kept != 0.f; j++) {
                sum += to_float(du[row * du_stride + j]) * to_float(a[j * a_stride + column]);
            }
            total += kept * sum;
        }
        T* const to = dx + row * dx_stride + column;
        *to = from_float<T>(to_float(*to) + total);
    }
}

}  // namespace low_rank

#define LOW_RANK_SCALAR(T, TYPE)                                                                                   \
    extern "C" __global__ void low_rank_scalar_forward_##TYPE(                                                     \
            T* u, long long u_stride, const T* x, long long x_stride, const T* a, long long a_stride,              \
            const int* adapter_of_row, const int* rng, int tokens, int depth,                                      \
            const __grid_constant__ low_rank::Table table) {                                                      \
        low_rank::forward_scalar<T>(                                                                               \
                u, u_stride, x, x_stride, a, a_stride, adapter_of_row, rng, tokens, depth, table);                 \
    }                                                                                                              \
    extern "C" __global__ void low_rank_scalar_backward_output_##TYPE(                                             \
            T* du, long long du_stride, const T* dy, long long dy_stride, const T* b, long long b_stride,          \
            const int* adapter_of_row, int tokens, const __grid_constant__ low_rank::Table table) {               \
        low_rank::output_scalar<T>(du, du_stride, dy, dy_stride, b, b_stride, adapter_of_row, tokens, table);      \
    }                                                                                                              \
    extern "C" __global__ void low_rank_scalar_backward_b_##TYPE(                                                  \
            const T* dy, long long dy_stride, const T* u, long long u_stride, int tokens,                          \
            const __grid_constant__ low_rank::Table table) {                                                      \
        low_rank::gradient_scalar<T, true>(dy, dy_stride, u, u_stride, nullptr, tokens, 0, table);                 \
    }                                                                                                              \
    extern "C" __global__ void low_rank_scalar_backward_a_##TYPE(                                                  \
            const T* x, long long x_stride, const T* du, long long du_stride, const int* rng, int tokens,          \
            int columns, const __grid_constant__ low_rank::Table table) {                                         \
        low_rank::gradient_scalar<T, false>(x, x_stride, du, du_stride, rng, tokens, columns, table);              \
    }                                                                                                              \
    extern "C" __global__ void low_rank_scalar_backward_input_dropout_##TYPE(                                      \
            T* dx, long long dx_stride, const T* du, long long du_stride, const T* a, long long a_stride,          \
            const int* rng, int tokens, int columns, const __grid_constant__ low_rank::Table table) {             \
        low_rank::input_dropout_scalar<T>(                                                                         \
                dx, dx_stride, du, du_stride, a, a_stride, rng, tokens, columns, table);                           \
    }

LOW_RANK_SCALAR(float, f32)
LOW_RANK_SCALAR(bf16, bf16)
