// Inverted dropout: out = mask·x/(1 − p), the mask from Philox words as jlora.runtime.kernel.DropoutKernel says:
// element e = t·C + c is kept when word e mod 4 of counter e/4 is not below ⌊p·2³²⌋.
//
// x, out, d_out, d_x: [T,C]; backward is the same product with d_out in the place of x.
// apply writes to with =, or with += where `accumulate` is set (backward).
// Bytes per element, in units of the storage type: 2, or 3 when it adds.
#include "common/philox.cuh"
#include "common/rows.cuh"

namespace dropout {

// Without an index that is not known to the compiler, which would put the words into local memory.
__device__ __forceinline__ uint32_t word_of(const PhiloxWords& words, unsigned index) {
    const uint32_t low = index & 1 ? words.word[1] : words.word[0];
    const uint32_t high = index & 1 ? words.word[3] : words.word[2];
    return index & 2 ? high : low;
}

template <class T, int N>
__device__ __forceinline__ void apply(
        T* to,
        long long to_stride,
        const T* from,
        long long from_stride,
        const int* rng,
        int stream,
        unsigned long long threshold,
        float scale,
        int accumulate,
        long long rows,
        long long cols) {
    for_each_pack<N>(rows, cols, [=](long long row, long long col) {
        T* const target = to + row * to_stride + col;
        float value[N], sum[N];
        load<N>(value, from + row * from_stride + col);
        if (accumulate) {
            load<N>(sum, target);
        }
        const unsigned long long element = static_cast<unsigned long long>(row) * cols + col;
        // A pack has 4 or 8 elements and begins at a multiple of that, so it shares no counter with others.
        constexpr int GROUP = N < 4 ? N : 4;
#pragma unroll
        for (int first = 0; first < N; first += GROUP) {
            const PhiloxWords words = dropout_words(rng, (element + first) / 4, stream);
#pragma unroll
            for (int i = 0; i < GROUP; i++) {
                const uint32_t word = N == 1 ? word_of(words, element % 4) : words.word[i];
                value[first + i] = word >= threshold ? value[first + i] * scale : 0.f;
            }
        }
        if (accumulate) {
#pragma unroll
            for (int i = 0; i < N; i++) {
                value[i] += sum[i];
            }
        }
        store<N>(target, value);
    });
}

}  // namespace dropout

#define DROPOUT(suffix, T, N)                                                                             \
    extern "C" __global__ void dropout_apply_##suffix(                                                    \
            T* to, long long to_stride, const T* from, long long from_stride, const int* rng,             \
            int stream, unsigned long long threshold, float scale, int accumulate, long long rows,        \
            long long cols) {                                                                             \
        dropout::apply<T, N>(                                                                             \
                to, to_stride, from, from_stride, rng, stream, threshold, scale, accumulate, rows,        \
                cols);                                                                                    \
    }

FOR_STORAGE_TYPES(DROPOUT)
