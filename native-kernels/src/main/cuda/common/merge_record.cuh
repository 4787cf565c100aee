// What a merge loses of a weight, and how that is written down: see merge.cu.
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
#pragma once

#include "reduce.cuh"
#include "vector.cuh"

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

template <class T>
struct Lane {
    static constexpr int WIDTH = Vector<T>::WIDTH;
    static constexpr int COLS = WARP * WIDTH;
    static constexpr int WEIGHTS = ROWS * WIDTH;
    static constexpr int PER_WORD = 4 / sizeof(T);
    static constexpr int CODE_BYTES = WEIGHTS / 4;
    static constexpr unsigned CODES_BYTES = WARP * CODE_BYTES;
};

// Dynamic shared memory of a block. Each thread has 16 bytes of its own per row: its weights, which arrive
// while delta is summed, so that they need no registers, and then what belongs to them by index.
struct Shared {
    float a[RANKS * 2 * WARP * 4];
    float b[RANKS * B_STRIDE];
    uint4 rows[ROWS * THREADS];
};

__device__ __forceinline__ unsigned& word(uint4& words, int i) {
    return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
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
__device__ __forceinline__ void read_list(
        Shared& shared, const unsigned char* from, unsigned length, unsigned before) {
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
__device__ __forceinline__ void write_codes(
        unsigned char* to, Shared& shared, u64 differing, unsigned before) {
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

}  // namespace merge
