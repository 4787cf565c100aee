// Merging a low-rank product into a weight and taking it off again to the bit, in place.
//
//   delta[i,j] = sum over k of sB[i,k]·A[k,j], f32 FMAs from 0 on in ascending k
//   merge:   W1 = round(W + delta); what round(W1 - delta) does not give back is recorded
//   unmerge: W  = round(W1 - delta), then what the record says
//
// W [rows,cols], A [rank,cols], B [rows,rank] (scaled already) of one type, rows strided. One pass reads
// and writes W once, finds what would be lost, and records it, so merging costs what a copy costs.
//
// A tile's records are written as common/merge_record.cuh says. Space for them is taken from a pool by an
// atomic add: where they lie differs from run to run, what they say does not. A tile that finds the pool
// full, or a weight that would not be finite, is left as it was, with headers that say so.
#include "common/merge_record.cuh"
#include "common/mma.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

namespace merge {

// What all tiles of a merge add to.
struct Control {
    u64 used;       // bytes asked of the pool
    u64 missing;    // bytes of tiles that found it full
    u64 not_finite; // 1 when a merged weight would not be
};

// What the tiles of one matrix add to.
struct Stats {
    u64 bytes;
    u64 corrected;
    u64 groups[3]; // records of the form LIST, CODES, COPY
};

// The matrices of a launch and a lane's place in them.
template <class T>
struct Place {
    T* w;
    long long w_stride;
    const T* a;
    long long a_stride;
    const T* b;
    long long b_stride;
    int rows;
    int cols;
    int rank;
    int row; // first row of the tile
    int col; // first column of the tile

    __device__ __forceinline__ int lane_row() const {
        return row + static_cast<int>(threadIdx.x) / WARP * ROWS;
    }
    __device__ __forceinline__ int lane_col() const {
        return col + static_cast<int>(threadIdx.x) % WARP * Lane<T>::WIDTH;
    }
    __device__ __forceinline__ T* weights(int r) const {
        return w + (lane_row() + r) * w_stride + lane_col();
    }
};

// ---- weights in registers ----

template <class T, bool ALIGNED>
__device__ __forceinline__ uint4 load_weights(const T* from, int valid) {
    uint4 words = make_uint4(0, 0, 0, 0);
    if constexpr (ALIGNED) {
        if (valid > 0) {
            words = *reinterpret_cast<const uint4*>(from);
        }
    } else {
        T values[Lane<T>::WIDTH];
#pragma unroll
        for (int i = 0; i < Lane<T>::WIDTH; i++) {
            values[i] = i < valid ? from[i] : from_float<T>(0.f);
        }
        memcpy(&words, values, sizeof words);
    }
    return words;
}

template <class T, bool ALIGNED>
__device__ __forceinline__ void store_weights(T* to, const uint4& words, int valid) {
    if constexpr (ALIGNED) {
        if (valid > 0) {
            *reinterpret_cast<uint4*>(to) = words;
        }
    } else {
        T values[Lane<T>::WIDTH];
        memcpy(values, &words, sizeof words);
#pragma unroll
        for (int i = 0; i < Lane<T>::WIDTH; i++) {
            if (i < valid) {
                to[i] = values[i];
            }
        }
    }
}

// Columns of a row that are in the matrix, from the lane's first on; none outside its rows.
template <class T>
__device__ __forceinline__ int valid(const Place<T>& at, int r) {
    return at.lane_row() + r < at.rows ? at.cols - at.lane_col() : 0;
}

// Starts to load the lane's weights; cp_async_wait<0> says that they are there.
template <class T, bool ALIGNED>
__device__ __forceinline__ void load_lane(Shared& shared, const Place<T>& at) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const T* from = at.weights(r);
        uint4* to = &shared.rows[r * THREADS + threadIdx.x];
        if constexpr (ALIGNED) {
            const bool inside = valid(at, r) > 0;
            cp_async_16(to, inside ? from : at.w, inside);
        } else {
            *to = load_weights<T, false>(from, valid(at, r));
        }
    }
    cp_async_commit();
}

template <class T, bool ALIGNED>
__device__ __forceinline__ void store_lane(const Place<T>& at, const uint4 (&words)[ROWS]) {
    T* to = at.weights(0);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        store_weights<T, ALIGNED>(to, words[r], valid(at, r));
        to += at.w_stride;
    }
}

// ---- delta ----

// Up to 16 ranks of A's columns and B's rows as f32. A lane's columns of A lie in groups of 4, those of all
// lanes side by side, so that a warp's 16-byte loads take every bank once.
template <class T, bool ALIGNED>
__device__ __forceinline__ void load_factors(Shared& shared, const Place<T>& at, int from, int ranks) {
    constexpr int WIDTH = Lane<T>::WIDTH;
#pragma unroll 1 // delta is in registers already
    for (int i = threadIdx.x; i < ranks * WARP; i += THREADS) {
        const int k = i / WARP;
        const int lane = i % WARP;
        const int col = at.col + lane * WIDTH;
        const T* row = at.a + (from + k) * at.a_stride + col;
        float values[WIDTH];
        if (ALIGNED && col < at.cols) {
            load<WIDTH>(values, row);
        } else {
#pragma unroll
            for (int c = 0; c < WIDTH; c++) {
                values[c] = !ALIGNED && col + c < at.cols ? to_float(row[c]) : 0.f;
            }
        }
#pragma unroll
        for (int q = 0; q < WIDTH / 4; q++) {
            *reinterpret_cast<float4*>(&shared.a[((k * (WIDTH / 4) + q) * WARP + lane) * 4]) =
                    make_float4(values[4 * q], values[4 * q + 1], values[4 * q + 2], values[4 * q + 3]);
        }
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < TILE_ROWS * RANKS; i += THREADS) {
        const int k = i % RANKS;
        const int row = at.row + i / RANKS;
        if (k < ranks) {
            shared.b[k * B_STRIDE + i / RANKS] =
                    row < at.rows ? to_float(at.b[row * at.b_stride + from + k]) : 0.f;
        }
    }
}

template <class T>
__device__ __forceinline__ void add_rank(float (&delta)[ROWS][Lane<T>::WIDTH], const Shared& shared, int k) {
    constexpr int WIDTH = Lane<T>::WIDTH;
    float a[WIDTH];
    float b[ROWS];
#pragma unroll
    for (int q = 0; q < WIDTH / 4; q++) {
        const float4 v = *reinterpret_cast<const float4*>(
                &shared.a[((k * (WIDTH / 4) + q) * WARP + threadIdx.x % WARP) * 4]);
        a[4 * q] = v.x;
        a[4 * q + 1] = v.y;
        a[4 * q + 2] = v.z;
        a[4 * q + 3] = v.w;
    }
#pragma unroll
    for (int q = 0; q < ROWS / 4; q++) {
        const float4 v = *reinterpret_cast<const float4*>(
                &shared.b[k * B_STRIDE + threadIdx.x / WARP * ROWS + 4 * q]);
        b[4 * q] = v.x;
        b[4 * q + 1] = v.y;
        b[4 * q + 2] = v.z;
        b[4 * q + 3] = v.w;
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int c = 0; c < WIDTH; c++) {
            delta[r][c] = fmaf(b[r], a[c], delta[r][c]);
        }
    }
}

template <class T, bool ALIGNED>
__device__ __forceinline__ void sum_delta(
        float (&delta)[ROWS][Lane<T>::WIDTH], Shared& shared, const Place<T>& at) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int c = 0; c < Lane<T>::WIDTH; c++) {
            delta[r][c] = 0.f;
        }
    }
    for (int from = 0; from < at.rank; from += RANKS) {
        // Exactly the ranks there are: a further product of zeros would turn a sum of -0 into +0.
        const int ranks = min(RANKS, at.rank - from);
        if (from > 0) {
            __syncthreads();
        }
        load_factors<T, ALIGNED>(shared, at, from, ranks);
        __syncthreads();
        if (ranks == RANKS) {
#pragma unroll
            for (int k = 0; k < RANKS; k++) {
                add_rank<T>(delta, shared, k);
            }
        } else {
#pragma unroll 1
            for (int k = 0; k < ranks; k++) {
                add_rank<T>(delta, shared, k);
            }
        }
    }
}

// ---- one word of weights ----

// w becomes the merged weights; returns the differences of what comes back.
template <class T>
__device__ __forceinline__ unsigned add_delta(unsigned& w, const float* delta);

template <>
__device__ __forceinline__ unsigned add_delta<float>(unsigned& w, const float* delta) {
    const unsigned before = w;
    const float merged = __uint_as_float(w) + delta[0];
    w = __float_as_uint(merged);
    return before - __float_as_uint(merged - delta[0]);
}

template <>
__device__ __forceinline__ unsigned add_delta<bf16>(unsigned& w, const float* delta) {
    const unsigned before = w;
    float low, high;
    unpack_bf16(low, high, w);
    w = pack_bf16(low + delta[0], high + delta[1]);
    unpack_bf16(low, high, w);
    const unsigned back = pack_bf16(low - delta[0], high - delta[1]);
    // Each half on its own: the lower one must not borrow from the upper.
    return __byte_perm(before - back, before - (back & 0xffff0000u), 0x7610);
}

// Not zero when an exponent of the word is that of infinity and NaN: one more carries into the sign.
template <class T>
__device__ __forceinline__ unsigned not_finite(unsigned w) {
    constexpr unsigned SIGN = sizeof(T) == 4 ? 0x80000000u : 0x80008000u;
    constexpr unsigned EXPONENT = sizeof(T) == 4 ? 0x7f800000u : 0x7f807f80u;
    constexpr unsigned ONE = sizeof(T) == 4 ? 0x00800000u : 0x00800080u;
    return ((w & EXPONENT) + ONE) & SIGN;
}

template <class T>
__device__ __forceinline__ unsigned subtract_delta(unsigned w, const float* delta);

template <>
__device__ __forceinline__ unsigned subtract_delta<float>(unsigned w, const float* delta) {
    return __float_as_uint(__uint_as_float(w) - delta[0]);
}

template <>
__device__ __forceinline__ unsigned subtract_delta<bf16>(unsigned w, const float* delta) {
    float low, high;
    unpack_bf16(low, high, w);
    return pack_bf16(low - delta[0], high - delta[1]);
}

// ---- tiles ----

template <class T>
__device__ __forceinline__ Place<T> place(
        T* w,
        long long w_stride,
        int rows,
        int cols,
        const T* a,
        long long a_stride,
        const T* b,
        long long b_stride,
        int rank,
        unsigned tile) {
    const unsigned across = (cols + Lane<T>::COLS - 1) / Lane<T>::COLS;
    const int row = static_cast<int>(tile / across) * TILE_ROWS;
    const int col = static_cast<int>(tile % across) * Lane<T>::COLS;
    return {w, w_stride, a, a_stride, b, b_stride, rows, cols, rank, row, col};
}

// `headers` null: only adds up what every tile_step-th tile would take. `again`: only tiles left open.
template <class T, bool ALIGNED>
__device__ __forceinline__ void apply(
        const Place<T>& at,
        u64 tile,
        u64* headers,
        unsigned char* pool,
        u64 pool_bytes,
        Control* control,
        Stats* stats,
        int again) {
    DYNAMIC_SHARED(Shared, memory);
    Shared& shared = *memory;
    __shared__ unsigned sizes[WARPS];
    __shared__ unsigned counts[WARPS];
    __shared__ unsigned forms[WARPS];
    __shared__ unsigned long long space;
    constexpr int WIDTH = Lane<T>::WIDTH;
    constexpr unsigned BAD = ~0u;
    constexpr u64 FULL = ~0ull;
    const int warp = threadIdx.x / WARP;
    const int lane = threadIdx.x % WARP;
    if (again && headers[tile * WARPS] >> FORM_SHIFT != OPEN) {
        return;
    }

    load_lane<T, ALIGNED>(shared, at);
    float delta[ROWS][WIDTH];
    sum_delta<T, ALIGNED>(delta, shared, at);
    cp_async_wait<0>();

    // Merged weights stay in registers until there is space for the record; their differences take the place
    // of the weights.
    uint4 w[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        w[r] = shared.rows[r * THREADS + threadIdx.x];
        uint4 differences;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            word(differences, i) = add_delta<T>(word(w[r], i), &delta[r][i * Lane<T>::PER_WORD]);
        }
        shared.rows[r * THREADS + threadIdx.x] = differences;
    }

    const u64 differing = differing_weights<T>(shared);
    unsigned infinite = 0;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        infinite |= not_finite<T>(w[r].x) | not_finite<T>(w[r].y);
        infinite |= not_finite<T>(w[r].z) | not_finite<T>(w[r].w);
    }
    unsigned length = 0;
    unsigned listed = 0;
    for (u64 rest = differing; rest != 0; rest &= rest - 1) {
        const Size size = size_of(element<T>(shared, __ffsll(static_cast<long long>(rest)) - 1));
        length += size == WHOLE ? 1 + sizeof(T) : size == BYTE ? 2 : 1;
        listed += size >= BYTE;
    }
    unsigned total;
    const unsigned before = warp_prefix(length | listed << 16, total);
    const unsigned corrected = __reduce_add_sync(FULL_WARP, static_cast<unsigned>(__popcll(differing)));
    const bool bad = __any_sync(FULL_WARP, infinite != 0);
    Form form;
    const unsigned bytes = record_bytes<T>(form, corrected, total & 0xffffu, total >> 16);
    if (lane == 0) {
        sizes[warp] = bad ? BAD : bytes;
        counts[warp] = corrected;
        forms[warp] = form;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        u64 sum = 0;
        u64 count = 0;
        bool all_finite = true;
        for (int i = 0; i < WARPS; i++) {
            sum += sizes[i];
            count += counts[i];
            all_finite = all_finite && sizes[i] != BAD;
        }
        space = 0;
        if (!all_finite) {
            atomicExch(&control->not_finite, 1ull);
            space = FULL;
        } else if (sum != 0) {
            space = atomicAdd(&control->used, sum);
            if (headers != nullptr && space + sum > pool_bytes) {
                atomicAdd(&control->missing, sum);
                space = FULL;
            } else if (headers != nullptr) {
                atomicAdd(&stats->bytes, sum);
                atomicAdd(&stats->corrected, count);
                for (unsigned f = LIST; f <= COPY; f++) {
                    u64 groups = 0;
                    for (int i = 0; i < WARPS; i++) {
                        groups += forms[i] == f;
                    }
                    if (groups != 0) {
                        atomicAdd(&stats->groups[f - LIST], groups);
                    }
                }
            }
        }
    }
    __syncthreads();
    if (headers == nullptr || space == FULL) {
        return;
    }

    u64 offset = space;
    for (int i = 0; i < warp; i++) {
        offset += sizes[i];
    }
    unsigned char* record = pool + offset;
    switch (form) {
        case LIST:
            write_list<T>(record, shared, differing, length, before & 0xffffu);
            break;
        case CODES:
            write_codes<T>(record, shared, differing, before >> 16);
            break;
        case COPY: {
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                reinterpret_cast<uint4*>(record)[r * WARP + lane] =
                        load_weights<T, ALIGNED>(at.weights(r), valid(at, r));
            }
            break;
        }
        default:
            break;
    }
    if (lane == 0) {
        headers[tile * WARPS + warp] =
                static_cast<u64>(form) << FORM_SHIFT | reinterpret_cast<u64>(record);
    }
    store_lane<T, ALIGNED>(at, w);
}

template <class T, bool ALIGNED>
__device__ __forceinline__ void restore(const Place<T>& at, u64 tile, const u64* headers) {
    DYNAMIC_SHARED(Shared, memory);
    Shared& shared = *memory;
    const int warp = threadIdx.x / WARP;
    const int lane = threadIdx.x % WARP;
    const u64 header = headers[tile * WARPS + warp];
    load_lane<T, ALIGNED>(shared, at);
    float delta[ROWS][Lane<T>::WIDTH];
    sum_delta<T, ALIGNED>(delta, shared, at);
    cp_async_wait<0>();

    const unsigned form = static_cast<unsigned>(header >> FORM_SHIFT);
    const unsigned char* record = reinterpret_cast<const unsigned char*>(header & ADDRESS);
    if (form == OPEN) {
        return;
    }
    if (form == COPY) {
        uint4 before[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            before[r] = reinterpret_cast<const uint4*>(record)[r * WARP + lane];
        }
        store_lane<T, ALIGNED>(at, before);
        return;
    }
    const unsigned length = form == LIST ? record[lane] : 0;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        uint4 words = shared.rows[r * THREADS + threadIdx.x];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            word(words, i) = subtract_delta<T>(word(words, i), &delta[r][i * Lane<T>::PER_WORD]);
        }
        shared.rows[r * THREADS + threadIdx.x] = words;
    }
    if (form == LIST) {
        unsigned total;
        const unsigned before = warp_prefix(length, total);
        read_list<T>(shared, record, length, before);
    } else if (form == CODES) {
        read_codes<T>(shared, record);
    }
    uint4 w[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        w[r] = shared.rows[r * THREADS + threadIdx.x];
    }
    store_lane<T, ALIGNED>(at, w);
}

// ---- fingerprint ----

// MergeKernel.mix.
__device__ __forceinline__ u64 mix(u64 word, u64 index) {
    u64 x = word ^ (index + 1) * 0x9E3779B97F4A7C15ull;
    x = (x ^ x >> 32) * 0xD6E8FEB86659FD93ull;
    x = (x ^ x >> 29) * 0xBF58476D1CE4E5B9ull;
    return x ^ x >> 32;
}

// The words of 8 bytes of a row from this lane's on, two at a time where rows are whole 16 bytes.
template <bool ALIGNED>
__device__ __forceinline__ u64 row_print(const unsigned char* row, long long bytes, u64 index) {
    const int lane = threadIdx.x % WARP;
    u64 sum = 0;
    if constexpr (ALIGNED) {
#pragma unroll 4
        for (long long i = lane; i < bytes / 16; i += WARP) {
            const uint4 v = reinterpret_cast<const uint4*>(row)[i];
            sum += mix(static_cast<u64>(v.y) << 32 | v.x, index + 2 * i);
            sum += mix(static_cast<u64>(v.w) << 32 | v.z, index + 2 * i + 1);
        }
    } else {
        for (long long i = lane; i < (bytes + 7) / 8; i += WARP) {
            u64 word = 0;
            for (int b = 0; b < 8 && 8 * i + b < bytes; b++) {
                word |= static_cast<u64>(row[8 * i + b]) << 8 * b;
            }
            sum += mix(word, index + i);
        }
    }
    return sum;
}

// Integer sums modulo 2^64 have no order.
template <bool ALIGNED>
__device__ __forceinline__ void fingerprint(
        u64* print, const unsigned char* from, long long stride, long long rows, long long bytes) {
    const long long words = (bytes + 7) / 8;
    const long long step = static_cast<long long>(gridDim.x) * (blockDim.x / WARP);
    u64 sum = 0;
    for (long long row = static_cast<long long>(blockIdx.x) * (blockDim.x / WARP) + threadIdx.x / WARP;
         row < rows;
         row += step) {
        sum += row_print<ALIGNED>(from + row * stride, bytes, static_cast<u64>(row * words));
    }
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(FULL_WARP, sum, offset);
    }
    if (threadIdx.x % WARP == 0 && sum != 0) {
        atomicAdd(print, sum);
    }
}

}  // namespace merge

#define MERGE_ENTRIES(suffix, T, ALIGNED, BLOCKS)                                                            \
    extern "C" __global__ void __launch_bounds__(merge::THREADS, BLOCKS) merge_apply_##suffix(               \
            T* w,                                                                                            \
            long long w_stride,                                                                              \
            int rows,                                                                                        \
            int cols,                                                                                        \
            const T* a,                                                                                      \
            long long a_stride,                                                                              \
            const T* b,                                                                                      \
            long long b_stride,                                                                              \
            int rank,                                                                                        \
            unsigned long long* headers,                                                                     \
            unsigned char* pool,                                                                             \
            unsigned long long pool_bytes,                                                                   \
            merge::Control* control,                                                                         \
            merge::Stats* stats,                                                                             \
            unsigned tile_step,                                                                              \
            int again) {                                                                                     \
        const unsigned tile = blockIdx.x * tile_step;                                                        \
        merge::apply<T, ALIGNED>(                                                                            \
                merge::place<T>(w, w_stride, rows, cols, a, a_stride, b, b_stride, rank, tile),              \
                tile,                                                                                        \
                headers,                                                                                     \
                pool,                                                                                        \
                pool_bytes,                                                                                  \
                control,                                                                                     \
                stats,                                                                                       \
                again);                                                                                      \
    }                                                                                                        \
    extern "C" __global__ void __launch_bounds__(merge::THREADS, BLOCKS) merge_restore_##suffix(             \
            T* w,                                                                                            \
            long long w_stride,                                                                              \
            int rows,                                                                                        \
            int cols,                                                                                        \
            const T* a,                                                                                      \
            long long a_stride,                                                                              \
            const T* b,                                                                                      \
            long long b_stride,                                                                              \
            int rank,                                                                                        \
            const unsigned long long* headers) {                                                             \
        merge::restore<T, ALIGNED>(                                                                          \
                merge::place<T>(w, w_stride, rows, cols, a, a_stride, b, b_stride, rank, blockIdx.x),        \
                blockIdx.x,                                                                                  \
                headers);                                                                                    \
    }

MERGE_ENTRIES(f32, float, true, 2)
MERGE_ENTRIES(f32_scalar, float, false, 1)
MERGE_ENTRIES(bf16, bf16, true, 2)
MERGE_ENTRIES(bf16_scalar, bf16, false, 1)

// print += the fingerprint of rows of so many bytes.
extern "C" __global__ void __launch_bounds__(256) merge_fingerprint(
        unsigned long long* print,
        const unsigned char* from,
        long long stride,
        long long rows,
        long long bytes) {
    merge::fingerprint<true>(print, from, stride, rows, bytes);
}

extern "C" __global__ void __launch_bounds__(256) merge_fingerprint_scalar(
        unsigned long long* print,
        const unsigned char* from,
        long long stride,
        long long rows,
        long long bytes) {
    merge::fingerprint<false>(print, from, stride, rows, bytes);
}
