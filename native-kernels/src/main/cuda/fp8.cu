// FP8: what is done to matrices of E4M3 codes beside the library's products.
//   quantize:   codes[r,c] and f32 scales of in[r,c] (times a factor per column), with =; a scale is the largest magnitude
//               of the elements that share it / 448. rows: a scale per row, scales[r]; pieces: per 128 elements of a row,
//               scales[c/128, r]; blocks: per 128 x 128 elements, scales[r/128, c/128].
//   transpose:  out[c,r] = in[r,c], bytes; and the scales of blocks
//   dequantize: out[r,c] = code · scale
//   product:    out[t,n] (+)= sum over k of x[t,k]·w[n,k], for shapes that the library does not take
// Every operation on scales and codes is one rounded f32 operation: all backends give the same bits. A NaN is no magnitude,
// and its code is NaN.
// Bytes per element, bf16: quantize 3 (its second reading comes out of the caches), transpose 2, dequantize 3.
#include "common/e4m3.cuh"
#include "common/product_tile.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

namespace fp8 {

constexpr int SIDE = 128;  // elements that share a scale along each side
constexpr int THREADS = 256;
constexpr int WARPS = THREADS / WARP;
constexpr float LEAST_MAGNITUDE = 0x1p-100f;

// As Fp8Matrix.Scaling counts them.
constexpr int NONE = 0;
constexpr int ROW = 1;
constexpr int PIECE = 2;

// Four adjacent elements of a row that has `cols` of them, zeros behind its end. PACKED: rows are aligned, and no four of
// them cross the end.
template <class T, bool PACKED>
__device__ __forceinline__ void load_four(
        float (&to)[4], const T* row, const float* factors, long long col, long long cols) {
    if constexpr (PACKED && sizeof(T) == 4) {
        load_vector<T>(to, row + col);
    } else if constexpr (PACKED) {
        const uint2 pairs = *reinterpret_cast<const uint2*>(row + col);
        unpack_bf16(to[0], to[1], pairs.x);
        unpack_bf16(to[2], to[3], pairs.y);
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            to[i] = col + i < cols ? to_float(row[col + i]) : 0.f;
        }
    }
    if (factors != nullptr) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            to[i] *= PACKED || col + i < cols ? factors[col + i] : 1.f;
        }
    }
}

template <bool PACKED>
__device__ __forceinline__ void store_four(
        uint8_t* row, float (&values)[4], float reciprocal, long long col, long long cols) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        values[i] *= reciprocal;
    }
    const uint32_t codes = e4m3_codes(values);
    if constexpr (PACKED) {
        *reinterpret_cast<uint32_t*>(row + col) = codes;
    } else {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (col + i < cols) {
                row[col + i] = static_cast<uint8_t>(codes >> (8 * i));
            }
        }
    }
}

__device__ __forceinline__ float with_magnitudes(float largest, const float (&values)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        largest = fmaxf(largest, fabsf(values[i]));
    }
    return largest;
}

// A block makes a row.
template <class T, bool PACKED>
__device__ __forceinline__ void quantize_rows(
        uint8_t* __restrict__ codes, long long codes_stride, float* __restrict__ scales, const T* __restrict__ in,
        long long in_stride, const float* __restrict__ factors, long long cols) {
    const T* const from = in + blockIdx.x * in_stride;
    uint8_t* const to = codes + blockIdx.x * codes_stride;
    float largest = LEAST_MAGNITUDE;
#pragma unroll 4
    for (long long col = threadIdx.x * 4; col < cols; col += THREADS * 4) {
        float values[4];
        load_four<T, PACKED>(values, from, factors, col, cols);
        largest = with_magnitudes(largest, values);
    }
    largest = block_max(largest);
    const float reciprocal = __fdiv_rn(E4M3_LARGEST, largest);
#pragma unroll 4
    for (long long col = threadIdx.x * 4; col < cols; col += THREADS * 4) {
        float values[4];
        load_four<T, PACKED>(values, from, factors, col, cols);
        store_four<PACKED>(to, values, reciprocal, col, cols);
    }
    if (threadIdx.x == 0) {
        scales[blockIdx.x] = __fdiv_rn(largest, E4M3_LARGEST);
    }
}

// A warp makes a piece; the warps of a block are rows below each other, whose scales lie side by side.
template <class T, bool PACKED>
__device__ __forceinline__ void quantize_pieces(
        uint8_t* __restrict__ codes, long long codes_stride, float* __restrict__ scales, long long scales_stride,
        const T* __restrict__ in, long long in_stride, const float* __restrict__ factors, long long rows,
        long long cols) {
    const long long across = (cols + SIDE - 1) / SIDE;
    const long long piece = blockIdx.x % across;
    const long long row = blockIdx.x / across * WARPS + threadIdx.x / WARP;
    const long long col = piece * SIDE + threadIdx.x % WARP * 4;
    if (row >= rows) {
        return;
    }
    float values[4] = {};
    if (col < cols) {
        load_four<T, PACKED>(values, in + row * in_stride, factors, col, cols);
    }
    const float largest = warp_max(with_magnitudes(LEAST_MAGNITUDE, values));
    if (col < cols) {
        store_four<PACKED>(codes + row * codes_stride, values, __fdiv_rn(E4M3_LARGEST, largest), col, cols);
    }
    if (threadIdx.x % WARP == 0) {
        scales[piece * scales_stride + row] = __fdiv_rn(largest, E4M3_LARGEST);
    }
}

// A block makes a square; a warp takes every eighth row of it.
template <class T, bool PACKED>
__device__ __forceinline__ void quantize_blocks(
        uint8_t* __restrict__ codes, long long codes_stride, float* __restrict__ scales, long long scales_stride,
        const T* __restrict__ in, long long in_stride, const float* __restrict__ factors, long long rows,
        long long cols) {
    const long long across = (cols + SIDE - 1) / SIDE;
    const long long down_block = blockIdx.x / across;
    const long long across_block = blockIdx.x % across;
    const long long first = down_block * SIDE + threadIdx.x / WARP;
    const long long last = min((down_block + 1) * SIDE, rows);
    const long long col = across_block * SIDE + threadIdx.x % WARP * 4;
    float largest = LEAST_MAGNITUDE;
    if (col < cols) {
#pragma unroll 4
        for (long long row = first; row < last; row += WARPS) {
            float values[4];
            load_four<T, PACKED>(values, in + row * in_stride, factors, col, cols);
            largest = with_magnitudes(largest, values);
        }
    }
    largest = block_max(largest);
    const float reciprocal = __fdiv_rn(E4M3_LARGEST, largest);
    if (col < cols) {
#pragma unroll 4
        for (long long row = first; row < last; row += WARPS) {
            float values[4];
            load_four<T, PACKED>(values, in + row * in_stride, factors, col, cols);
            store_four<PACKED>(codes + row * codes_stride, values, reciprocal, col, cols);
        }
    }
    if (threadIdx.x == 0) {
        scales[down_block * scales_stride + across_block] = __fdiv_rn(largest, E4M3_LARGEST);
    }
}

// Four words, byte j of word i the element (i, j), transposed.
__device__ __forceinline__ void transpose_four(uint32_t (&words)[4]) {
    const uint32_t low01 = __byte_perm(words[0], words[1], 0x5140);
    const uint32_t high01 = __byte_perm(words[0], words[1], 0x7362);
    const uint32_t low23 = __byte_perm(words[2], words[3], 0x5140);
    const uint32_t high23 = __byte_perm(words[2], words[3], 0x7362);
    words[0] = __byte_perm(low01, low23, 0x5410);
    words[1] = __byte_perm(low01, low23, 0x7632);
    words[2] = __byte_perm(high01, high23, 0x5410);
    words[3] = __byte_perm(high01, high23, 0x7632);
}

// A block transposes 128 x 128 bytes, read and written 16 at a time, eight threads for the 128 bytes of a row. In between
// a thread takes the words of four columns out of 16 rows. In shared memory row r has its pack k at k ^ (r / 16): then
// the words that a warp reads at once, of four neighbours in each of eight groups of 16 rows, lie in 32 banks. Rows and
// columns are multiples of 16.
__device__ __forceinline__ void transpose(
        uint8_t* __restrict__ out, long long out_stride, const uint8_t* __restrict__ in, long long in_stride,
        long long rows, long long cols) {
    constexpr int PACKS = SIDE / 16;
    __shared__ uint4 tile[SIDE][PACKS];
    const long long across = (cols + SIDE - 1) / SIDE;
    const long long row0 = blockIdx.x / across * SIDE;
    const long long col0 = blockIdx.x % across * SIDE;
    const int pack = threadIdx.x % PACKS;
#pragma unroll
    for (int part = 0; part < SIDE * PACKS / THREADS; part++) {
        const int row = part * (THREADS / PACKS) + threadIdx.x / PACKS;
        if (row0 + row < rows && col0 + pack * 16 < cols) {
            tile[row][pack ^ (row / 16)] =
                    *reinterpret_cast<const uint4*>(in + (row0 + row) * in_stride + col0 + pack * 16);
        }
    }
    __syncthreads();
    const int four = threadIdx.x / PACKS;  // columns 4 · four and on, rows 16 · pack and on
    if (row0 + pack * 16 >= rows || col0 + four * 4 >= cols) {
        return;
    }
    uint32_t to[4][4];  // of column j the bytes of rows 4 · i and on
#pragma unroll
    for (int i = 0; i < 4; i++) {
        uint32_t words[4];
#pragma unroll
        for (int r = 0; r < 4; r++) {
            const uint4* const packs = tile[pack * 16 + i * 4 + r];
            words[r] = reinterpret_cast<const uint32_t*>(&packs[four / 4 ^ pack])[four % 4];
        }
        transpose_four(words);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            to[j][i] = words[j];
        }
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
        uint4 column;
        column.x = to[j][0];
        column.y = to[j][1];
        column.z = to[j][2];
        column.w = to[j][3];
        *reinterpret_cast<uint4*>(out + (col0 + four * 4 + j) * out_stride + row0 + pack * 16) = column;
    }
}

// Any alignment: 32 x 32 bytes a block.
__device__ __forceinline__ void transpose_scalar(
        uint8_t* __restrict__ out, long long out_stride, const uint8_t* __restrict__ in, long long in_stride,
        long long rows, long long cols) {
    __shared__ uint8_t tile[WARP][WARP + 4];
    const long long across = (cols + WARP - 1) / WARP;
    const long long row0 = blockIdx.x / across * WARP;
    const long long col0 = blockIdx.x % across * WARP;
    const int lane = threadIdx.x % WARP;
    for (int i = threadIdx.x / WARP; i < WARP; i += WARPS) {
        if (row0 + i < rows && col0 + lane < cols) {
            tile[i][lane] = in[(row0 + i) * in_stride + col0 + lane];
        }
    }
    __syncthreads();
    for (int i = threadIdx.x / WARP; i < WARP; i += WARPS) {
        if (row0 + lane < rows && col0 + i < cols) {
            out[(col0 + i) * out_stride + row0 + lane] = tile[lane][i];
        }
    }
}

struct Matrix {
    const uint8_t* codes;
    long long stride;
    const float* scales;
    long long scales_stride;
    int scaling;

    __device__ __forceinline__ float scale(long long row, long long col) const {
        switch (scaling) {
            case NONE: return 1.f;
            case ROW: return scales[row];
            case PIECE: return scales[col / SIDE * scales_stride + row];
            default: return scales[row / SIDE * scales_stride + col / SIDE];
        }
    }

    __device__ __forceinline__ float at(long long row, long long col) const {
        return e4m3_value(codes[row * stride + col]) * scale(row, col);
    }
};

template <class T, int N>
__device__ __forceinline__ void dequantize(
        T* __restrict__ out, long long out_stride, const Matrix from, long long rows, long long cols) {
    const long long packs = (cols + N - 1) / N;
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
    const long long thread = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    for (long long i = thread; i < rows * packs; i += step) {
        const long long row = i / packs;
        const long long col = i % packs * N;
        float values[N];
        if constexpr (N == 1) {
            values[0] = from.at(row, col);
        } else {
            // No pack crosses a block of scales.
            const float scale = from.scale(row, col);
#pragma unroll
            for (int word = 0; word < N / 4; word++) {
                const uint32_t codes =
                        *reinterpret_cast<const uint32_t*>(from.codes + row * from.stride + col + 4 * word);
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    values[4 * word + j] = e4m3_value(codes >> (8 * j)) * scale;
                }
            }
        }
        store<N>(out + row * out_stride + col, values);
    }
}

// Rows of a matrix as one operand of a product, zero outside of [rows, depth].
__device__ __forceinline__ void load_panel(
        product_tile::Panel& panel, const Matrix& from, long long row0, long long rows, long long k0,
        long long depth) {
    product_tile::load(panel, true, [&](int i, int k) {
        return row0 + i < rows && k0 + k < depth ? from.at(row0 + i, k0 + k) : 0.f;
    });
}

template <class Out>
__device__ __forceinline__ void product(
        Out* out, long long out_stride, const Matrix& x, const Matrix& weight, long long rows, long long cols,
        long long depth, int accumulate) {
    product_tile::run(
            rows, cols, depth,
            [&](product_tile::Panel& panel, long long row0, long long k0) {
                load_panel(panel, x, row0, rows, k0, depth);
            },
            [&](product_tile::Panel& panel, long long col0, long long k0) {
                load_panel(panel, weight, col0, cols, k0, depth);
            },
            [=](long long row, long long col, float sum) {
                Out* const at = out + row * out_stride + col;
                *at = from_float<Out>(accumulate ? sum + to_float(*at) : sum);
            });
}

}  // namespace fp8

#define FP8_QUANTIZE(suffix, T, PACKED)                                                                            \
    extern "C" __global__ void __launch_bounds__(256) fp8_quantize_rows_##suffix(                                  \
            uint8_t* codes, long long codes_stride, float* scales, long long scales_stride, const T* in,           \
            long long in_stride, const float* factors, long long rows, long long cols) {                           \
        fp8::quantize_rows<T, PACKED>(codes, codes_stride, scales, in, in_stride, factors, cols);                  \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(256) fp8_quantize_pieces_##suffix(                                \
            uint8_t* codes, long long codes_stride, float* scales, long long scales_stride, const T* in,           \
            long long in_stride, const float* factors, long long rows, long long cols) {                           \
        fp8::quantize_pieces<T, PACKED>(                                                                           \
                codes, codes_stride, scales, scales_stride, in, in_stride, factors, rows, cols);                   \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(256) fp8_quantize_blocks_##suffix(                                \
            uint8_t* codes, long long codes_stride, float* scales, long long scales_stride, const T* in,           \
            long long in_stride, const float* factors, long long rows, long long cols) {                           \
        fp8::quantize_blocks<T, PACKED>(                                                                           \
                codes, codes_stride, scales, scales_stride, in, in_stride, factors, rows, cols);                   \
    }

FP8_QUANTIZE(f32, float, true)
FP8_QUANTIZE(f32_scalar, float, false)
FP8_QUANTIZE(bf16, bf16, true)
FP8_QUANTIZE(bf16_scalar, bf16, false)

extern "C" __global__ void __launch_bounds__(256) fp8_transpose(
        uint8_t* out, long long out_stride, const uint8_t* in, long long in_stride, long long rows, long long cols) {
    fp8::transpose(out, out_stride, in, in_stride, rows, cols);
}

extern "C" __global__ void __launch_bounds__(256) fp8_transpose_scalar(
        uint8_t* out, long long out_stride, const uint8_t* in, long long in_stride, long long rows, long long cols) {
    fp8::transpose_scalar(out, out_stride, in, in_stride, rows, cols);
}

// A thread per scale: there are 16384 times fewer of them than codes.
extern "C" __global__ void fp8_transpose_scales(
        float* out, long long out_stride, const float* in, long long in_stride, long long rows, long long cols) {
    const long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < rows * cols) {
        out[i % cols * out_stride + i / cols] = in[i / cols * in_stride + i % cols];
    }
}

#define FP8_DEQUANTIZE(suffix, T, N)                                                                         \
    extern "C" __global__ void fp8_dequantize_##suffix(                                                      \
            T* out, long long out_stride, const uint8_t* codes, long long codes_stride, const float* scales, \
            long long scales_stride, int scaling, long long rows, long long cols) {                          \
        fp8::dequantize<T, N>(                                                                               \
                out, out_stride, {codes, codes_stride, scales, scales_stride, scaling}, rows, cols);         \
    }

FP8_DEQUANTIZE(f32, float, Vector<float>::WIDTH)
FP8_DEQUANTIZE(f32_scalar, float, 1)
FP8_DEQUANTIZE(bf16, bf16, Vector<bf16>::WIDTH)
FP8_DEQUANTIZE(bf16_scalar, bf16, 1)

#define FP8_PRODUCT(name, Out)                                                                                 \
    extern "C" __global__ void __launch_bounds__(256) name(                                                    \
            Out* out, long long out_stride, const uint8_t* x, long long x_stride, const float* x_scales,       \
            long long x_scales_stride, int x_scaling, const uint8_t* weight, long long weight_stride,          \
            const float* weight_scales, long long weight_scales_stride, int weight_scaling, long long rows,    \
            long long cols, long long depth, int accumulate) {                                                 \
        fp8::product<Out>(                                                                                     \
                out, out_stride, {x, x_stride, x_scales, x_scales_stride, x_scaling},                          \
                {weight, weight_stride, weight_scales, weight_scales_stride, weight_scaling}, rows, cols,      \
                depth, accumulate);                                                                            \
    }

FP8_PRODUCT(fp8_product_f32, float)
FP8_PRODUCT(fp8_product_bf16, bf16)
