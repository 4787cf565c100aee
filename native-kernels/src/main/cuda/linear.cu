// Linear: what of its products the library does not do.
//   product:     out[rows,cols] = alpha · left[rows,depth]·right[depth,cols] (+ out) (+ bias on every row)
//   bias_rows:   out[rows,cols] = bias on every row, for a product that is added to it
//   column_sums: sums[cols] (+)= column sums of in[rows,cols]; two passes, partial sums in between
// Sums are f32 and run in a fixed order.
#include "common/product_tile.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

namespace linear {

// A panel of x(i, k) = from[i·i_stride + k·k_stride], zero outside of [count, depth]. Neighbouring threads take
// neighbours in memory, whichever index they differ in.
template <class T>
__device__ __forceinline__ void load_panel(
        product_tile::Panel& panel, const T* from, long long i_stride, long long k_stride, long long i0,
        long long count, long long k0, long long depth) {
    product_tile::load(panel, k_stride == 1, [=](int i, int k) {
        const bool valid = i0 + i < count && k0 + k < depth;
        return valid ? to_float(from[(i0 + i) * i_stride + (k0 + k) * k_stride]) : 0.f;
    });
}

// Any strides and alignment.
template <class In, class Out>
__device__ __forceinline__ void product(
        Out* out, long long out_stride, const In* left, long long left_row, long long left_col,
        const In* right, long long right_row, long long right_col, const In* bias, long long rows,
        long long cols, int depth, float alpha, int accumulate) {
    product_tile::run(
            rows, cols, depth,
            [=](product_tile::Panel& panel, long long row0, long long k0) {
                load_panel(panel, left, left_row, left_col, row0, rows, k0, depth);
            },
            [=](product_tile::Panel& panel, long long col0, long long k0) {
                load_panel(panel, right, right_col, right_row, col0, cols, k0, depth);
            },
            [=](long long row, long long col, float sum) {
                Out* const at = out + row * out_stride + col;
                float value = alpha * sum;
                if (bias != nullptr) {
                    value += to_float(bias[col]);
                }
                if (accumulate) {
                    value += to_float(*at);
                }
                *at = from_float<Out>(value);
            });
}

template <class Bias, class Out>
__device__ __forceinline__ void bias_rows(
        Out* out, long long out_stride, const Bias* bias, long long rows, long long cols) {
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
    const long long first = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    for (long long i = first; i < rows * cols; i += step) {
        out[i / cols * out_stride + i % cols] = from_float<Out>(to_float(bias[i % cols]));
    }
}

// A block of 32 x 8 threads sums N columns per thread over a range of rows: partial[blockIdx.y, cols].
template <class T, int N>
__device__ __forceinline__ void column_sums(
        float* partial, const T* in, long long in_stride, long long rows, int cols, int rows_per_block) {
    constexpr int LANES = 8;
    __shared__ float parts[LANES][WARP * N];
    const int across = threadIdx.x % WARP;
    const int lane = threadIdx.x / WARP;
    const int col = (blockIdx.x * WARP + across) * N;
    const long long first = static_cast<long long>(blockIdx.y) * rows_per_block;
    const long long last = first + rows_per_block < rows ? first + rows_per_block : rows;
    float sums[N] = {};
    if (col < cols) {
#pragma unroll 4
        for (long long row = first + lane; row < last; row += LANES) {
            float values[N];
            load<N>(values, in + row * in_stride + col);
#pragma unroll
            for (int i = 0; i < N; i++) {
                sums[i] += values[i];
            }
        }
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        parts[lane][i * WARP + across] = sums[i];
    }
    __syncthreads();
    for (int at = threadIdx.x; at < WARP * N; at += blockDim.x) {
        const int to = (blockIdx.x * WARP + at % WARP) * N + at / WARP;
        float sum = 0.f;
#pragma unroll
        for (int i = 0; i < LANES; i++) {
            sum += parts[i][at];
        }
        if (to < cols) {
            partial[static_cast<long long>(blockIdx.y) * cols + to] = sum;
        }
    }
}

}  // namespace linear

#define LINEAR_PRODUCT(name, In, Out)                                                                   \
    extern "C" __global__ void __launch_bounds__(256) name(                                             \
            Out* out, long long out_stride, const In* left, long long left_row, long long left_col,     \
            const In* right, long long right_row, long long right_col, const In* bias, long long rows,  \
            long long cols, int depth, float alpha, int accumulate) {                                   \
        linear::product<In, Out>(out, out_stride, left, left_row, left_col, right, right_row,           \
                                 right_col, bias, rows, cols, depth, alpha, accumulate);                \
    }

LINEAR_PRODUCT(linear_product_f32_f32, float, float)
LINEAR_PRODUCT(linear_product_bf16_bf16, bf16, bf16)
LINEAR_PRODUCT(linear_product_bf16_f32, bf16, float)

extern "C" __global__ void linear_bias_rows_bf16_f32(
        float* out, long long out_stride, const bf16* bias, long long rows, long long cols) {
    linear::bias_rows(out, out_stride, bias, rows, cols);
}

#define LINEAR_COLUMN_SUMS(name, T, N)                                                  \
    extern "C" __global__ void __launch_bounds__(256) name(                             \
            float* partial, const T* in, long long in_stride, long long rows, int cols, \
            int rows_per_block) {                                                       \
        linear::column_sums<T, N>(partial, in, in_stride, rows, cols, rows_per_block);  \
    }

LINEAR_COLUMN_SUMS(linear_column_sums_f32, float, 4)
LINEAR_COLUMN_SUMS(linear_column_sums_bf16, bf16, 8)
LINEAR_COLUMN_SUMS(linear_column_sums_scalar_f32, float, 1)
LINEAR_COLUMN_SUMS(linear_column_sums_scalar_bf16, bf16, 1)

// Second pass: the partial sums, first to last.
extern "C" __global__ void linear_column_sums_finish(
        float* sums, const float* partial, int cols, int parts, int accumulate) {
    const int col = blockIdx.x * blockDim.x + threadIdx.x;
    if (col < cols) {
        float sum = accumulate ? sums[col] : 0.f;
        for (int part = 0; part < parts; part++) {
            sum += partial[static_cast<long long>(part) * cols + col];
        }
        sums[col] = sum;
    }
}
