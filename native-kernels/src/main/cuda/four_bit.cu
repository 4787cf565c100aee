// Matrices in four bits an element, as bitsandbytes lays them out (FourBitMatrix.java): blocks of 64 elements in the order
// of rows share a scale, two codes lie in a byte, the earlier one in the upper four bits.
//
// quantize: s = max |x| of a block, codes by thresholds of x·(1/s). codes and absmax of the given rows are written with =.
// quantize_scales: offset = mean of all scales; codes, by thresholds of the 256 values, of (scale − offset)·(1/s2), where
// s2 is the largest magnitude of 256 of them. All are written with =.
// dequantize: to [sum of rows, K] = value of the code · scale, with = ; scale is f32, or value of its code · s2 + offset.
//
// All of it in f32 without a fused multiply-add, since the processor has to come to the same bits.
// Bytes per element: dequantize reads 0.5 for the code and 0.016 (nested) or 0.0625 for the scale, and writes 2 or 4: in
// bf16 2.52 or 2.56. quantize reads 2 or 4 and writes 0.56.
#include "common/reduce.cuh"
#include "common/rows.cuh"

namespace four_bit {

constexpr int BLOCK = 64;
constexpr int SCALE_BLOCK = 256;
constexpr int CODES = 16;

// ---- tables: the same as those of FourBitTables.java ----

__device__ const float NF4[CODES] = {
        -1.f,
        -0.6961928009986877f,
        -0.5250730514526367f,
        -0.39491748809814453f,
        -0.28444138169288635f,
        -0.18477343022823334f,
        -0.09105003625154495f,
        0.f,
        0.07958029955625534f,
        0.16093020141124725f,
        0.24611230194568634f,
        0.33791524171829224f,
        0.44070982933044434f,
        0.5626170039176941f,
        0.7229568362236023f,
        1.f,
};

__device__ const float FP4_TWELFTHS[CODES / 2] = {0.f, 0.0625f, 8.f, 12.f, 4.f, 6.f, 2.f, 3.f};

__device__ const float SCALE_POWERS[7] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.f};

// Scales below are taken for this when elements are divided by them, so that a block of zeros has codes of 0.
constexpr float LEAST_SCALE = 1e-38f;

__device__ __forceinline__ float value_of(int code, bool is_fp4) {
    if (!is_fp4) {
        return NF4[code];
    }
    const float magnitude = __fdiv_rn(FP4_TWELFTHS[code & 7], 12.f);
    return code & 8 ? -magnitude : magnitude;
}

// How many thresholds are less than x; comparisons with constants rather than a tree, which would diverge.
__device__ __forceinline__ unsigned nf4_code(float x) {
    return (x > -0.8480964004993439f) + (x > -0.6106329262256622f) + (x > -0.4599952697753906f)
            + (x > -0.33967943489551544f) + (x > -0.23460740596055984f) + (x > -0.13791173323988914f)
            + (x > -0.045525018125772476f) + (x > 0.03979014977812767f) + (x > 0.1202552504837513f)
            + (x > 0.2035212516784668f) + (x > 0.2920137718319893f) + (x > 0.3893125355243683f)
            + (x > 0.5016634166240692f) + (x > 0.6427869200706482f) + (x > 0.8614784181118011f);
}

__device__ __forceinline__ unsigned fp4_code(float x) {
    const float magnitude = fabsf(x);
    const unsigned rank = (magnitude > 0.00260417f) + (magnitude > 0.0859375f) + (magnitude > 0.20833333f)
            + (magnitude > 0.29166667f) + (magnitude > 0.4166667f) + (magnitude > 0.583333f)
            + (magnitude > 0.8333333f);
    // Codes by rank, the lowest in the lowest bits.
    return (0x32547610u >> 4 * rank & 7u) | (x < 0.f ? 8u : 0u);
}

// The end of one of 1 << bits equal parts of [0.1, 1].
__device__ __forceinline__ float part_end(int index, int bits) {
    const int parts = 1 << bits;
    const float step = __fdiv_rn(__fsub_rn(1.f, 0.1f), static_cast<float>(parts));
    return index < (parts + 1) / 2 ? __fmaf_rn(step, static_cast<float>(index), 0.1f)
                                   : __fmaf_rn(-step, static_cast<float>(parts - index), 1.f);
}

// What a scale's code means.
__device__ __forceinline__ float scale_value_of(int code) {
    if (code == 127 || code == 255) {
        return code == 127 ? 0.f : 1.f;
    }
    const int distance = abs(code - 127);
    const int bits = 31 - __clz(distance);
    const int part = distance - (1 << bits);
    const float middle = __fmul_rn(__fadd_rn(part_end(part, bits), part_end(part + 1, bits)), 0.5f);
    const float value = __fmul_rn(SCALE_POWERS[bits], middle);
    return code < 127 ? -value : value;
}

__device__ __forceinline__ float inverse(float scale) {
    return __fdiv_rn(1.f, scale < LEAST_SCALE ? LEAST_SCALE : scale);
}

// ---- quantize ----

// Elements of a thread; eight threads hold a block.
constexpr int PER_THREAD = 8;

// VECTORS: x is aligned to 16 bytes, codes to 4.
template <class T, bool VECTORS>
__device__ __forceinline__ void quantize(
        unsigned char* codes, float* absmax, const T* from, long long count, bool is_fp4) {
    const long long first = PER_THREAD * (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x);
    const bool whole = VECTORS && first + PER_THREAD <= count;
    float x[PER_THREAD];
    if (whole) {
        constexpr int WIDTH = Vector<T>::WIDTH;
#pragma unroll
        for (int i = 0; i < PER_THREAD; i += WIDTH) {
            float loaded[WIDTH];
            load_vector<T>(loaded, from + first + i);
#pragma unroll
            for (int j = 0; j < WIDTH; j++) {
                x[i + j] = loaded[j];
            }
        }
    } else {
#pragma unroll
        for (int i = 0; i < PER_THREAD; i++) {
            x[i] = first + i < count ? to_float(from[first + i]) : 0.f;
        }
    }
    // As integers, so that NaN is above all numbers.
    unsigned most = 0;
#pragma unroll
    for (int i = 0; i < PER_THREAD; i++) {
        most = max(most, __float_as_uint(x[i]) & 0x7fffffffu);
    }
#pragma unroll
    for (int offset = BLOCK / PER_THREAD / 2; offset > 0; offset /= 2) {
        most = max(most, __shfl_xor_sync(FULL_WARP, most, offset));
    }
    if (first >= count) {
        return;
    }
    const float scale = __uint_as_float(most);
    if (first % BLOCK == 0) {
        absmax[first / BLOCK] = scale;
    }
    const float factor = inverse(scale);
    unsigned packed = 0;
#pragma unroll
    for (int i = 0; i < PER_THREAD; i++) {
        const float scaled = x[i] * factor;
        const unsigned code = is_fp4 ? fp4_code(scaled) : nf4_code(scaled);
        packed |= code << (4 * i ^ 4);
    }
    unsigned char* const to = codes + first / 2;
    if (whole) {
        *reinterpret_cast<unsigned*>(to) = packed;
    } else {
        for (int i = 0; i < PER_THREAD && first + i < count; i += 2) {
            to[i / 2] = static_cast<unsigned char>(packed >> 4 * i);
        }
    }
}

// ---- quantize_scales ----

// A block sums so many scales; the number of blocks depends on the matrix alone.
constexpr int SUMMED = 1 << 12;

__device__ __forceinline__ void sum_scales(double* partial, const float* absmax, long long count) {
    const long long first = static_cast<long long>(blockIdx.x) * SUMMED;
    const long long end = min(first + SUMMED, count);
    double sum = 0.;
    for (long long i = first + threadIdx.x; i < end; i += blockDim.x) {
        sum += absmax[i];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
    }
}

// One block.
__device__ __forceinline__ void mean_of_scales(float* offset, const double* partial, int parts, long long count) {
    double sum = 0.;
    for (int part = static_cast<int>(threadIdx.x); part < parts; part += static_cast<int>(blockDim.x)) {
        sum += partial[part];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        *offset = static_cast<float>(sum / static_cast<double>(count));
    }
}

// A block of SCALE_BLOCK threads quantises as many scales.
__device__ __forceinline__ void quantize_scales(
        unsigned char* codes, float* scales, const float* absmax, const float* offset, long long count) {
    __shared__ float values[SCALE_BLOCK];
    __shared__ unsigned parts[SCALE_BLOCK / WARP];
    const int thread = threadIdx.x;
    values[thread] = scale_value_of(thread);
    const long long i = static_cast<long long>(blockIdx.x) * SCALE_BLOCK + thread;
    const float x = i < count ? __fsub_rn(absmax[i], *offset) : 0.f;
    unsigned most = __reduce_max_sync(FULL_WARP, __float_as_uint(x) & 0x7fffffffu);
    if (thread % WARP == 0) {
        parts[thread / WARP] = most;
    }
    __syncthreads();
#pragma unroll
    for (int part = 0; part < SCALE_BLOCK / WARP; part++) {
        most = max(most, parts[part]);
    }
    const float scale = __uint_as_float(most);
    if (thread == 0) {
        scales[blockIdx.x] = scale;
    }
    if (i >= count) {
        return;
    }
    const float scaled = __fmul_rn(x, inverse(scale));
    // The code is the number of middles between neighbours that are less.
    int low = 0;
    int high = SCALE_BLOCK - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (scaled > __fmul_rn(__fadd_rn(values[middle], values[middle + 1]), 0.5f)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    codes[i] = static_cast<unsigned char>(low);
}

// ---- dequantize ----

// Matrices below each other; CudaFourBit.java writes this layout.
struct Part {
    const unsigned char* codes;
    const void* scales;           // f32, or u8 when nested
    const float* nested_scales;   // null when not
    const float* offset;
    long long first;              // row
    long long end;
    long long is_fp4;
};

__device__ __forceinline__ float offset_of(const Part& part) {
    return part.nested_scales == nullptr ? 0.f : __ldg(part.offset);
}

// N elements' codes: element i's four bits from 4·i ^ 4 on. __ldg, since a pointer out of a table could be to any memory,
// and a load that may be of what was just stored would wait for it.
template <int N>
__device__ __forceinline__ unsigned load_codes(const unsigned char* codes, long long element) {
    const unsigned char* const at = codes + element / 2;
    if constexpr (N == 8) {
        return __ldg(reinterpret_cast<const unsigned*>(at));
    } else if constexpr (N == 4) {
        return __ldg(reinterpret_cast<const unsigned short*>(at));
    } else {
        static_assert(N == 1, "packs are of 16 bytes or one element");
        return static_cast<unsigned>(__ldg(at)) << (element % 2 == 0 ? 0 : 4);
    }
}

// What is read of N elements; nothing is computed from it before all reads have been started.
template <int N>
struct Pack {
    unsigned codes;
    unsigned scale_code;
    float scale;

    __device__ __forceinline__ void load(const Part& part, long long element) {
        const long long block = element / BLOCK;
        codes = load_codes<N>(part.codes, element);
        if (part.nested_scales != nullptr) {
            scale_code = __ldg(static_cast<const unsigned char*>(part.scales) + block);
            scale = __ldg(part.nested_scales + block / SCALE_BLOCK);
        } else {
            scale = __ldg(static_cast<const float*>(part.scales) + block);
        }
    }

    template <class T>
    __device__ __forceinline__ void store(
            T* to, const Part& part, float offset, const float* values, const float* scale_values) const {
        const float factor = part.nested_scales == nullptr
                                     ? scale
                                     : __fadd_rn(__fmul_rn(scale_values[scale_code], scale), offset);
        float products[N];
#pragma unroll
        for (int i = 0; i < N; i++) {
            products[i] = __fmul_rn(values[codes >> (4 * i ^ 4) & 15u], factor);
        }
        ::store<N>(to, products);
    }
};

// Rows that a thread takes at once, so that as many reads are on their way.
constexpr int ROWS = 4;

// Threads lie along a row in x and across rows in y, as in for_each_pack; each keeps its columns and goes down the rows.
// Packs of N elements lie in one block, since K is a multiple of N then.
template <class T, int N>
__device__ __forceinline__ void dequantize(
        T* to, long long stride, const Part* parts, long long rows, long long cols) {
    // 16 values lie in different banks, so no two lanes wait for each other.
    __shared__ float values[2 * CODES];
    __shared__ float scale_values[SCALE_BLOCK];
    const int threads = static_cast<int>(blockDim.x * blockDim.y);
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x); i < SCALE_BLOCK; i += threads) {
        scale_values[i] = scale_value_of(i);
        if (i < 2 * CODES) {
            values[i] = value_of(i % CODES, i >= CODES);
        }
    }
    __syncthreads();
    const long long col = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
    if (col >= cols) {
        return;
    }
    const long long step = static_cast<long long>(gridDim.y) * blockDim.y;
    Part part = *parts;
    float offset = offset_of(part);
    for (long long row = static_cast<long long>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows;) {
        while (row >= part.end) {
            part = *++parts;
            offset = offset_of(part);
        }
        const float* const table = values + CODES * part.is_fp4;
        const long long element = (row - part.first) * cols + col;
        T* const at = to + row * stride + col;
        if (row + (ROWS - 1) * step < part.end) {
            Pack<N> packs[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                packs[r].load(part, element + r * step * cols);
            }
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                packs[r].store(at + r * step * stride, part, offset, table, scale_values);
            }
            row += ROWS * step;
        } else {
            Pack<N> pack;
            pack.load(part, element);
            pack.store(at, part, offset, table, scale_values);
            row += step;
        }
    }
}

}  // namespace four_bit

#define FOUR_BIT_QUANTIZE(suffix, T, VECTORS)                                                            \
    extern "C" __global__ void four_bit_quantize_##suffix(                                               \
            unsigned char* codes, float* absmax, const T* from, long long count, int is_fp4) {           \
        four_bit::quantize<T, VECTORS>(codes, absmax, from, count, is_fp4 != 0);                         \
    }

FOUR_BIT_QUANTIZE(f32, float, true)
FOUR_BIT_QUANTIZE(f32_scalar, float, false)
FOUR_BIT_QUANTIZE(bf16, bf16, true)
FOUR_BIT_QUANTIZE(bf16_scalar, bf16, false)

extern "C" __global__ void four_bit_sum_scales(double* partial, const float* absmax, long long count) {
    four_bit::sum_scales(partial, absmax, count);
}

extern "C" __global__ void four_bit_mean_of_scales(
        float* offset, const double* partial, int parts, long long count) {
    four_bit::mean_of_scales(offset, partial, parts, count);
}

extern "C" __global__ void __launch_bounds__(four_bit::SCALE_BLOCK) four_bit_quantize_scales(
        unsigned char* codes, float* scales, const float* absmax, const float* offset, long long count) {
    four_bit::quantize_scales(codes, scales, absmax, offset, count);
}

#define FOUR_BIT_DEQUANTIZE(suffix, T, N)                                                                \
    extern "C" __global__ void __launch_bounds__(256) four_bit_dequantize_##suffix(                      \
            T* to, long long stride, const four_bit::Part* parts, long long rows, long long cols) {      \
        four_bit::dequantize<T, N>(to, stride, parts, rows, cols);                                       \
    }

FOR_STORAGE_TYPES(FOUR_BIT_DEQUANTIZE)
