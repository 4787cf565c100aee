// Merging a low-rank product into a weight and taking it off again to the bit, in place.
//
//   delta[i,j] = sum over k of sB[i,k]·A[k,j], f32 FMAs from 0 on in ascending k
//   merge:   W1 = round(W + delta); what round(W1 - delta) does not give back is recorded
//   unmerge: W  = round(W1 - delta), then what the record says
//
// W [rows,cols], A [rank,cols], B [rows,rank] (scaled already) of one type, rows strided. One pass reads
// and writes W once, finds what would be lost, and records it, so merging costs what a copy costs.
//
// A block takes a tile of 64 rows and 512 bytes of columns; a lane takes 8 rows and 16 bytes of columns:
// 64 weights of bf16, 32 of f32. Its difference, before - back as integers of the weight's width, is zero
// where a weight comes back. The record of a warp (8 rows, 4096 bytes of weights) has whichever of these
// forms takes the fewest bytes; its header names form and address:
//
//   LIST   32 lengths of a byte, then per lane its differences: a byte of position and size, for other
//          differences than 1 and -1 one byte or a whole weight behind it
//   CODES  two bits per weight (comes back, 1, -1, listed), then the listed differences
//   COPY   the weights themselves
//
// Space for a tile's records is taken from a pool by an atomic add: where they lie differs from run to run,
// what they say does not. A tile that finds the pool full, or a weight that would not be finite, is left as
// it was, with headers that say so.
#include "common/mma.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

namespace merge {

typedef unsigned long long u64;

constexpr int WARPS = 8;
constexpr int THREADS = WARPS * WARP;
constexpr int ROWS = 8;
constexpr int TILE_ROWS = WARPS * ROWS;
constexpr int RANKS = 16;
// Rows of B in shared memory, padded so that stores of a column spread over the banks.
constexpr int B_STRIDE = TILE_ROWS + 4;

constexpr int WORDS = 4 * ROWS;
constexpr unsigned COPY_BYTES = WARP * WORDS * 4;

enum Form : unsigned { NONE = 0, LIST = 1, CODES = 2, COPY = 3, OPEN = 0xff };
constexpr int FORM_SHIFT = 56;
constexpr u64 ADDRESS = (1ull << FORM_SHIFT) - 1;

// Sizes of a difference in a LIST.
enum Size : unsigned { UP = 0, DOWN = 1, BYTE = 2, WHOLE = 3 };

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

template <class T>
struct Lane {
    static constexpr int WIDTH = Vector<T>::WIDTH;
    static constexpr int COLS = WARP * WIDTH;
    static constexpr int WEIGHTS = ROWS * WIDTH;
    static constexpr int PER_WORD = 4 / sizeof(T);
    static constexpr int CODE_BYTES = WEIGHTS / 4;
    static constexpr unsigned CODES_BYTES = WARP * CODE_BYTES;
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

// Dynamic shared memory of a block. Each thread has 16 bytes of its own per row: its weights, which arrive
// while delta is summed, so that they need no registers, and then what belongs to them by index.
struct Shared {
    float a[RANKS * 2 * WARP * 4];
    float b[RANKS * B_STRIDE];
    uint4 rows[ROWS * THREADS];
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

__device__ __forceinline__ unsigned& word(uint4& words, int i) {
    return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
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

// ---- a lane's differences ----

template <class T>
struct Signed;
template <>
struct Signed<float> {
    typedef int type;
};
template <>
struct Signed<bf16> {
    typedef short type;
};

// The shared element of weight i of this thread.
template <class T>
__device__ __forceinline__ typename Signed<T>::type& element(Shared& shared, int i) {
    typedef typename Signed<T>::type I;
    constexpr int WIDTH = Lane<T>::WIDTH;
    return reinterpret_cast<I*>(&shared.rows[i / WIDTH * THREADS + threadIdx.x])[i % WIDTH];
}

// A bit for each of the thread's differences that is not zero.
template <class T>
__device__ __forceinline__ u64 differing_weights(Shared& shared) {
    u64 bits = 0;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        uint4 differences = shared.rows[r * THREADS + threadIdx.x];
        unsigned row = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const unsigned d = word(differences, i);
            if constexpr (sizeof(T) == 4) {
                row |= static_cast<unsigned>(d != 0) << i;
            } else {
                row |= static_cast<unsigned>((d & 0xffffu) != 0) << 2 * i;
                row |= static_cast<unsigned>((d >> 16) != 0) << (2 * i + 1);
            }
        }
        bits |= static_cast<u64>(row) << r * Lane<T>::WIDTH;
    }
    return bits;
}

__device__ __forceinline__ Size size_of(int difference) {
    return difference == 1                                       ? UP
           : difference == -1                                    ? DOWN
           : difference == static_cast<signed char>(difference) ? BYTE
                                                                 : WHOLE;
}

// The sum of the lanes before this one; `total` becomes that of all.
__device__ __forceinline__ unsigned warp_prefix(unsigned value, unsigned& total) {
    const int lane = threadIdx.x % WARP;
    unsigned sum = value;
#pragma unroll
    for (int offset = 1; offset < WARP; offset *= 2) {
        const unsigned before = __shfl_up_sync(FULL_WARP, sum, offset);
        if (lane >= offset) {
            sum += before;
        }
    }
    total = __shfl_sync(FULL_WARP, sum, WARP - 1);
    return sum - value;
}

template <class T>
__device__ __forceinline__ void write_bytes(unsigned char* to, int value) {
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(T)); i++) {
        to[i] = static_cast<unsigned char>(static_cast<unsigned>(value) >> 8 * i);
    }
}

template <class T>
__device__ __forceinline__ int read_bytes(const unsigned char* from) {
    unsigned value = 0;
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(T)); i++) {
        value |= static_cast<unsigned>(from[i]) << 8 * i;
    }
    return static_cast<typename Signed<T>::type>(value);
}

template <class T>
__device__ __forceinline__ void write_list(
        unsigned char* to, Shared& shared, u64 differing, unsigned length, unsigned before) {
    to[threadIdx.x % WARP] = static_cast<unsigned char>(length);
    unsigned char* at = to + WARP + before;
    for (u64 rest = differing; rest != 0; rest &= rest - 1) {
        const int i = __ffsll(static_cast<long long>(rest)) - 1;
        const int difference = element<T>(shared, i);
        const Size size = size_of(difference);
        *at++ = static_cast<unsigned char>(i << 2 | size);
        if (size == BYTE) {
            *at++ = static_cast<unsigned char>(difference);
        } else if (size == WHOLE) {
            write_bytes<T>(at, difference);
            at += sizeof(T);
        }
    }
}

template <class T>
__device__ __forceinline__ void read_list(Shared& shared, const unsigned char* from, unsigned length, unsigned before) {
    typedef typename Signed<T>::type I;
    const unsigned char* at = from + WARP + before;
    const unsigned char* const end = at + length;
    while (at < end) {
        const unsigned head = *at++;
        int difference = 1;
        switch (head & 3) {
            case DOWN:
                difference = -1;
                break;
            case BYTE:
                difference = static_cast<signed char>(*at++);
                break;
            case WHOLE:
                difference = read_bytes<T>(at);
                at += sizeof(T);
                break;
            default:
                break;
        }
        I& weight = element<T>(shared, head >> 2);
        weight = static_cast<I>(weight + difference);
    }
}

// Codes of 32 weights in a word of 64 bits.
constexpr u64 CODE_LOW = 0x5555555555555555ull;

template <class T>
__device__ __forceinline__ void write_codes(unsigned char* to, Shared& shared, u64 differing, unsigned before) {
    constexpr int PARTS = Lane<T>::WEIGHTS / 32;
    unsigned char* at = to + Lane<T>::CODES_BYTES + before * sizeof(T);
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        u64 codes = 0;
        for (unsigned rest = static_cast<unsigned>(differing >> 32 * part); rest != 0; rest &= rest - 1) {
            const int i = __ffs(static_cast<int>(rest)) - 1;
            const int difference = element<T>(shared, 32 * part + i);
            u64 code = 3;
            if (difference == 1 || difference == -1) {
                code = difference == 1 ? 1 : 2;
            } else {
                write_bytes<T>(at, difference);
                at += sizeof(T);
            }
            codes |= code << 2 * i;
        }
        reinterpret_cast<u64*>(to)[threadIdx.x % WARP * PARTS + part] = codes;
    }
}

template <class T>
__device__ __forceinline__ void read_codes(Shared& shared, const unsigned char* from) {
    typedef typename Signed<T>::type I;
    constexpr int PARTS = Lane<T>::WEIGHTS / 32;
    u64 codes[PARTS];
    unsigned listed = 0;
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        codes[part] = reinterpret_cast<const u64*>(from)[threadIdx.x % WARP * PARTS + part];
        listed += __popcll(codes[part] & codes[part] >> 1 & CODE_LOW);
    }
    unsigned total;
    const unsigned char* at = from + Lane<T>::CODES_BYTES + warp_prefix(listed, total) * sizeof(T);
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        for (u64 rest = (codes[part] | codes[part] >> 1) & CODE_LOW; rest != 0; rest &= rest - 1) {
            const int bit = __ffsll(static_cast<long long>(rest)) - 1;
            const unsigned code = static_cast<unsigned>(codes[part] >> bit) & 3;
            int difference = code == 1 ? 1 : -1;
            if (code == 3) {
                difference = read_bytes<T>(at);
                at += sizeof(T);
            }
            I& weight = element<T>(shared, 32 * part + bit / 2);
            weight = static_cast<I>(weight + difference);
        }
    }
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

// What a warp's record takes, by the cheapest form.
template <class T>
__device__ __forceinline__ unsigned record_bytes(
        Form& form, unsigned corrected, unsigned length, unsigned listed) {
    const unsigned list = WARP + length;
    const unsigned codes = Lane<T>::CODES_BYTES + listed * static_cast<unsigned>(sizeof(T));
    unsigned bytes = 0;
    form = NONE;
    if (corrected != 0) {
        form = list <= codes ? LIST : CODES;
        bytes = min(list, codes);
        if (COPY_BYTES < bytes) {
            form = COPY;
            bytes = COPY_BYTES;
        }
    }
    return (bytes + 15) / 16 * 16;
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
                reinterpret_cast<uint4*>(record)[r * WARP + lane] = load_weights<T, ALIGNED>(at.weights(r), valid(at, r));
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
