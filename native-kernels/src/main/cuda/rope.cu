// Rotary position embedding, half-split: within a head of size D, (a, b) = (x[i], x[i + D/2]) becomes
// (a·cos − b·sin, b·cos + a·sin) with cos and sin of table[t,i], table[t,i + D/2].
//
// rows are [q | k | v], [T,(H + 2·KV)·D]: the first H + KV heads turn, the values pass through.
// rotate writes to with =; direction −1 turns back, which is the gradient. table writes [T,D] f32 with =.
// Bytes per element of a row, in units of the storage type: 2; the table comes out of the caches, its rows being
// shared by all heads.
#include "common/rows.cuh"

namespace rope {

// The angle is the f32 product; sine and cosine are the accurate ones, since angles go to 131072 and more.
__device__ __forceinline__ void table(
        float* __restrict__ to,
        long long to_stride,
        const int* __restrict__ positions,
        const float* __restrict__ inverse_frequencies,
        float scaling,
        long long rows,
        long long half) {
    for_each_pack<1>(rows, half, [=](long long row, long long i) {
        float sine, cosine;
        sincosf(static_cast<float>(positions[row]) * inverse_frequencies[i], &sine, &cosine);
        to[row * to_stride + i] = cosine * scaling;
        to[row * to_stride + half + i] = sine * scaling;
    });
}

template <int N>
__device__ __forceinline__ void load_table(float (&to)[N], const float* from) {
    constexpr int WIDTH = N == 1 ? 1 : 4;
#pragma unroll
    for (int i = 0; i < N; i += WIDTH) {
        float part[WIDTH];
        load<WIDTH>(part, from + i);
#pragma unroll
        for (int j = 0; j < WIDTH; j++) {
            to[i + j] = part[j];
        }
    }
}

// A thread owns N columns of a head's first half and those that they turn with.
template <class T, int N>
__device__ __forceinline__ void rotate(
        T* __restrict__ to,
        long long to_stride,
        const T* __restrict__ from,
        long long from_stride,
        const float* __restrict__ table,
        long long table_stride,
        long long rows,
        int heads,
        int turned,
        int half,
        float direction) {
    // The column among the first halves of all heads.
    for_each_pack<N>(rows, static_cast<long long>(heads) * half, [=](long long row, long long col) {
        const int head = static_cast<int>(col) / half;
        const int i = static_cast<int>(col) % half;
        const long long at = static_cast<long long>(head) * 2 * half + i;
        float a[N], b[N];
        load<N>(a, from + row * from_stride + at);
        load<N>(b, from + row * from_stride + at + half);
        if (head < turned) {
            float cosine[N], sine[N];
            load_table<N>(cosine, table + row * table_stride + i);
            load_table<N>(sine, table + row * table_stride + half + i);
#pragma unroll
            for (int j = 0; j < N; j++) {
                const float s = sine[j] * direction;
                const float x = a[j];
                a[j] = x * cosine[j] - b[j] * s;
                b[j] = b[j] * cosine[j] + x * s;
            }
        }
        store<N>(to + row * to_stride + at, a);
        store<N>(to + row * to_stride + at + half, b);
    });
}

}  // namespace rope

extern "C" __global__ void rope_table(
        float* to, long long to_stride, const int* positions, const float* inverse_frequencies, float scaling,
        long long rows, long long half) {
    rope::table(to, to_stride, positions, inverse_frequencies, scaling, rows, half);
}

#define ROPE(suffix, T, N)                                                                                \
    extern "C" __global__ void rope_rotate_##suffix(                                                      \
            T* to, long long to_stride, const T* from, long long from_stride, const float* table,         \
            long long table_stride, long long rows, int heads, int turned, int half, float direction) {   \
        rope::rotate<T, N>(                                                                               \
                to, to_stride, from, from_stride, table, table_stride, rows, heads, turned, half,         \
                direction);                                                                               \
    }

FOR_STORAGE_TYPES(ROPE)
