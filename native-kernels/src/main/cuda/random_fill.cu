// Fills a tensor: normal numbers that depend on seed, stream and place alone, or one value.
//
// to [rows,cols] is written with =. Element e = first + r·cols + c gets the e-th normal number of jlora.runtime.kernel's
// RandomNumbers: counter e/4 of Philox gives two pairs of uniform numbers (u, v), and Box-Muller makes
// √(−2 ln u)·cos 2πv and √(−2 ln u)·sin 2πv of each; in f64, as the processor forms them, rounded once to f32.
// Bytes per element, in units of the storage type: 1.
#include "common/philox.cuh"
#include "common/rows.cuh"

namespace random_fill {

// The counter's last word tells these numbers from those of dropout.
constexpr uint32_t NUMBERS = 0x6A6C6F72u;

__device__ __forceinline__ double uniform(uint32_t word) {
    return (word + 0.5) * 0x1p-32;
}

// A thread draws a counter's four numbers.
template <class T>
__device__ __forceinline__ void normal(
        T* to, long long stride, long long rows, long long cols, long long first, uint32_t k0, uint32_t k1,
        int stream, double sigma) {
    const long long count = rows * cols;
    const long long before = first / 4;
    const int skipped = static_cast<int>(first % 4);
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long counter = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
            4 * counter - skipped < count; counter += step) {
        const long long absolute = before + counter;
        const PhiloxWords words = philox(
                k0, k1, static_cast<uint32_t>(absolute), static_cast<uint32_t>(absolute >> 32),
                static_cast<uint32_t>(stream), NUMBERS);
        double drawn[4];
#pragma unroll
        for (int pair = 0; pair < 4; pair += 2) {
            const double radius = sqrt(-2. * log(uniform(words.word[pair])));
            double sine, cosine;
            sincos(6.283185307179586 * uniform(words.word[pair + 1]), &sine, &cosine);
            drawn[pair] = radius * cosine;
            drawn[pair + 1] = radius * sine;
        }
        // The first counter's first numbers belong to what lies before this part.
        const long long start = 4 * counter - skipped;
        long long row = max(start, 0LL) / cols;
        long long col = max(start, 0LL) - row * cols;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (start + i < 0) {
                continue;
            }
            if (start + i < count) {
                to[row * stride + col] = from_float<T>(static_cast<float>(drawn[i] * sigma));
            }
            if (++col == cols) {
                col = 0;
                row++;
            }
        }
    }
}

template <class T, int N>
__device__ __forceinline__ void constant(T* to, long long stride, float value, long long rows, long long cols) {
    for_each_pack<N>(rows, cols, [=](long long row, long long col) {
        float values[N];
#pragma unroll
        for (int i = 0; i < N; i++) {
            values[i] = value;
        }
        store<N>(to + row * stride + col, values);
    });
}

}  // namespace random_fill

#define RANDOM_FILL_NORMAL(suffix, T)                                                                     \
    extern "C" __global__ void random_fill_normal_##suffix(                                               \
            T* to, long long stride, long long rows, long long cols, long long first, int seed_low,       \
            int seed_high, int stream, double sigma) {                                                    \
        random_fill::normal<T>(to, stride, rows, cols, first, seed_low, seed_high, stream, sigma);        \
    }

RANDOM_FILL_NORMAL(f32, float)
RANDOM_FILL_NORMAL(bf16, bf16)

#define RANDOM_FILL_CONSTANT(suffix, T, N)                                                                \
    extern "C" __global__ void random_fill_constant_##suffix(                                             \
            T* to, long long stride, float value, long long rows, long long cols) {                       \
        random_fill::constant<T, N>(to, stride, value, rows, cols);                                       \
    }

FOR_STORAGE_TYPES(RANDOM_FILL_CONSTANT)
