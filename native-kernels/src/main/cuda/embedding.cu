// Table look-up: out[t] = table[ids[t]] (+ position_table[positions[t]]), and its gradient.
//
// table [V,C], out, d_out [T,C]; ids, positions i32 [T]; d_table f32 [V,C].
// forward writes out with =; an id that is no row of its table gives a row of NaN, which the loss shows.
// add_rows, for the gradient of either table, writes the touched rows of d_table with +=.
// Bytes per element of out, in units of the storage type: forward 2 (3 with positions); backward 1, and 8 bytes per
// element of a touched table row.
//
// The gradient adds rows with equal ids in the order of the tokens, without float atomics and without sorting:
// first[v] and last[v], found with integer minima and maxima, name the tokens between which id v occurs. A team of
// threads per token works when its token is the first of its id: it reads the ids up to the last one, 1024 at a time,
// and adds the rows that match. So an id that occurs once costs its row alone; the others cost 4 bytes per token in
// between, out of the L2 cache: 4096 tokens of text cost less than 2 µs of reading ids, 100,000 tokens with 20,000
// different ids about a millisecond, beside training steps of seconds.
#include "common/rows.cuh"

namespace embedding {

constexpr int THREADS = 256;
// Ids that a thread looks at in one go.
constexpr int BATCH = 4;
constexpr int GROUP = THREADS * BATCH;
constexpr int WARPS = THREADS / 32;

template <class T, int N>
__device__ __forceinline__ void add_row(float (&sum)[N], const T* table, long long stride, int id, long long size) {
    float row[N];
    if (id >= 0 && id < size) {
        load<N>(row, table + id * stride);
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        sum[i] += id >= 0 && id < size ? row[i] : NAN;
    }
}

template <class T, int N>
__device__ __forceinline__ void forward(
        T* __restrict__ out,
        long long out_stride,
        const int* __restrict__ ids,
        const T* __restrict__ table,
        long long table_stride,
        long long table_rows,
        const int* __restrict__ positions,
        const T* __restrict__ position_table,
        long long position_stride,
        long long position_rows,
        long long rows,
        long long cols) {
    for_each_pack<N>(rows, cols, [=](long long row, long long col) {
        float sum[N] = {};
        add_row<T, N>(sum, table + col, table_stride, ids[row], table_rows);
        if (position_table != nullptr) {
            add_row<T, N>(sum, position_table + col, position_stride, positions[row], position_rows);
        }
        store<N>(out + row * out_stride + col, sum);
    });
}

template <class T, int N>
__device__ __forceinline__ void add_rows(
        float* __restrict__ d_table,
        long long d_table_stride,
        const T* __restrict__ d_out,
        long long d_out_stride,
        const int* __restrict__ ids,
        const int* __restrict__ first,
        const int* __restrict__ last,
        long long table_rows,
        int tokens,
        long long cols) {
    __shared__ unsigned found[BATCH * WARPS];
    __shared__ int matches[GROUP];
    const int owner = static_cast<int>(blockIdx.x);
    const int id = ids[owner];
    if (id < 0 || id >= table_rows || first[id] != owner) {
        return;
    }
    const int end = last[id] + 1;
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const long long col = (static_cast<long long>(blockIdx.y) * THREADS + threadIdx.x) * N;
    const bool mine = col < cols;
    float* const target = d_table + id * d_table_stride + col;
    float sum[N] = {};
    if (mine) {
        float own[N];
#pragma unroll
        for (int i = 0; i < N; i++) {
            sum[i] = target[i];
        }
        load<N>(own, d_out + owner * d_out_stride + col);
#pragma unroll
        for (int i = 0; i < N; i++) {
            sum[i] += own[i];
        }
    }
    for (int base = owner + 1; base < end; base += GROUP) {
        // Which of the next tokens match, as bits in the order of the tokens.
        bool match[BATCH];
        bool any = false;
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            const int token = base + i * THREADS + static_cast<int>(threadIdx.x);
            match[i] = token < end && ids[token] == id;
            any |= match[i];
        }
        if (!__syncthreads_or(any)) {
            continue;
        }
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            const unsigned bits = __ballot_sync(0xffffffffu, match[i]);
            if (lane == 0) {
                found[i * WARPS + warp] = bits;
            }
        }
        __syncthreads();
        int count = 0;
        int before[BATCH];
#pragma unroll
        for (int word = 0; word < BATCH * WARPS; word++) {
            if (word % WARPS == warp) {
                before[word / WARPS] = count;
            }
            count += __popc(found[word]);
        }
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            if (match[i]) {
                const unsigned lower = found[i * WARPS + warp] & ((1u << lane) - 1);
                matches[before[i] + __popc(lower)] = base + i * THREADS + static_cast<int>(threadIdx.x);
            }
        }
        __syncthreads();
        if (mine) {
#pragma unroll 4
            for (int i = 0; i < count; i++) {
                float row[N];
                load<N>(row, d_out + matches[i] * d_out_stride + col);
#pragma unroll
                for (int j = 0; j < N; j++) {
                    sum[j] += row[j];
                }
            }
        }
        // The next round overwrites what this one reads only behind its first barrier.
    }
    if (mine) {
#pragma unroll
        for (int i = 0; i < N; i++) {
            target[i] = sum[i];
        }
    }
}

}  // namespace embedding

// first is set to the number of tokens and last to −1 before.
extern "C" __global__ void embedding_find(int* first, int* last, const int* ids, long long table_rows, int tokens) {
    const int token = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (token < tokens) {
        const int id = ids[token];
        if (id >= 0 && id < table_rows) {
            atomicMin(first + id, token);
            atomicMax(last + id, token);
        }
    }
}

extern "C" __global__ void embedding_clear(int* first, int* last, long long table_rows, int tokens) {
    const long long row = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (row < table_rows) {
        first[row] = tokens;
        last[row] = -1;
    }
}

#define EMBEDDING(suffix, T, N)                                                                           \
    extern "C" __global__ void embedding_forward_##suffix(                                                \
            T* out, long long out_stride, const int* ids, const T* table, long long table_stride,         \
            long long table_rows, const int* positions, const T* position_table,                          \
            long long position_stride, long long position_rows, long long rows, long long cols) {         \
        embedding::forward<T, N>(                                                                         \
                out, out_stride, ids, table, table_stride, table_rows, positions, position_table,         \
                position_stride, position_rows, rows, cols);                                              \
    }                                                                                                     \
    extern "C" __global__ void __launch_bounds__(256) embedding_add_rows_##suffix(                        \
            float* d_table, long long d_table_stride, const T* d_out, long long d_out_stride,             \
            const int* ids, const int* first, const int* last, long long table_rows, int tokens,          \
            long long cols) {                                                                             \
        embedding::add_rows<T, N>(                                                                        \
                d_table, d_table_stride, d_out, d_out_stride, ids, first, last, table_rows, tokens,       \
                cols);                                                                                    \
    }

FOR_STORAGE_TYPES(EMBEDDING)
