// Tiles of bf16 rows in shared memory and their tensor core products, for attention.
//
// A tile is [rows, D], D columns of which the last may be zero padding. Rows lie without gaps; the 16-byte
// chunks of a row change places with its number, so that ldmatrix, which takes one chunk of eight rows, finds
// them in different banks.
#pragma once

#include "mma.cuh"
#include "vector.cuh"

namespace tiles {

constexpr int LANES = 32;
// Elements of a chunk.
constexpr int CHUNK = 8;

// Index of the first element of chunk `even` + `odd`, where odd is 0 or 1 and even, where it is known, is an
// even constant: few different addresses, and offsets that are part of the instruction.
template <int D>
__device__ __forceinline__ int at(int row, int even, int odd) {
    static_assert(D % 32 == 0, "a swizzle of four chunks needs whole groups of them");
    constexpr int GROUP = D % 64 == 0 ? 8 : 4;
    const int turn = (GROUP == 8 ? row : row >> 1) & (GROUP - 1);
    return row * D + even / GROUP * GROUP * CHUNK + ((even % GROUP ^ odd ^ turn) * CHUNK);
}

template <int D>
__device__ __forceinline__ int at(int row, int chunk) {
    return at<D>(row, chunk, 0);
}

// Begins to copy rows of `chunks` chunks; what is not there (from row `rows` or chunk `chunks` on) is zero.
template <int D, int ROWS, int THREADS>
__device__ __forceinline__ void load(bf16* tile, const bf16* from, long long stride, int rows, int chunks) {
    constexpr int WIDTH = D / CHUNK;
    static_assert(ROWS * WIDTH % THREADS == 0, "each thread copies as many chunks");
    if constexpr (THREADS % WIDTH == 0) {
        // A thread keeps its chunk and goes down the rows.
        constexpr int STEP = THREADS / WIDTH;
        const int chunk = threadIdx.x % WIDTH;
        int row = threadIdx.x / WIDTH;
        const int valid_rows = chunk < chunks ? rows : 0;
        const bf16* next = from + row * stride + chunk * CHUNK;
#pragma unroll 4
        for (int i = 0; i < ROWS / STEP; i++) {
            cp_async_16(tile + at<D>(row, chunk), next, row < valid_rows);
            row += STEP;
            next += STEP * stride;
        }
    } else {
#pragma unroll 2
        for (int i = 0; i < ROWS * WIDTH / THREADS; i++) {
            const int index = i * THREADS + static_cast<int>(threadIdx.x);
            const int row = index / WIDTH;
            const int chunk = index % WIDTH;
            cp_async_16(
                    tile + at<D>(row, chunk), from + row * stride + chunk * CHUNK, row < rows && chunk < chunks);
        }
    }
}

// The left operand of a product: 16·M rows of a tile from `row` on. HELD keeps it in registers.
template <int D, int M, bool HELD>
struct Left {
    const bf16* tile;
    int row;
    uint32_t held[HELD ? M : 1][HELD ? D / 16 : 1][4];

    __device__ __forceinline__ Left(const bf16* tile, int row) : tile(tile), row(row) {}

    // Fills the registers; the tile may be overwritten after it (by the warp; by others after a barrier).
    __device__ __forceinline__ void hold() {
        if constexpr (HELD) {
#pragma unroll
            for (int m = 0; m < M; m++) {
#pragma unroll
                for (int k = 0; k < D / 16; k++) {
                    read(held[m][k], m, k);
                }
            }
        }
    }

    __device__ __forceinline__ void read(uint32_t (&a)[4], int m, int k) const {
        const int lane = threadIdx.x % LANES;
        ldmatrix_x4(a, tile + at<D>(row + 16 * m + lane % 16, 2 * k, lane / 16));
    }

    __device__ __forceinline__ void get(uint32_t (&a)[4], int m, int k) const {
        if constexpr (HELD) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                a[i] = held[m][k][i];
            }
        } else {
            read(a, m, k);
        }
    }
};

template <int M, int N>
__device__ __forceinline__ void clear(float (&sums)[M][N][4]) {
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                sums[m][n][i] = 0.f;
            }
        }
    }
}

// sums [16·M, 8·N] = left · tileᵀ, where the tile has 8·N rows. A lane holds the elements as mma.cuh says.
template <int D, int M, int N, bool HELD>
__device__ __forceinline__ void product_transposed(
        float (&sums)[M][N][4], const Left<D, M, HELD>& left, const bf16* tile) {
    clear(sums);
    const int lane = threadIdx.x % LANES;
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        uint32_t a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
            left.get(a[m], m, k);
        }
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            uint32_t b[4];
            ldmatrix_x4(b, tile + at<D>(8 * n + lane % 8 + lane / 16 * 8, 2 * k, lane / 8 % 2));
            const uint32_t low[2] = {b[0], b[1]};
            const uint32_t high[2] = {b[2], b[3]};
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_bf16_m16n8k16(sums[m][n], a[m], low);
                mma_bf16_m16n8k16(sums[m][n + 1], a[m], high);
            }
        }
    }
}

// sums [16·M, D] += left [16·M, 8·N] · tile, where left are sums of another product, rounded to bf16 here.
template <int D, int M, int N>
__device__ __forceinline__ void product(
        float (&sums)[M][D / 8][4], const float (&left)[M][N][4], const bf16* tile) {
    const int lane = threadIdx.x % LANES;
#pragma unroll
    for (int k = 0; k < N / 2; k++) {
        uint32_t a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float(&from)[4] = left[m][2 * k + i / 2];
                a[m][i] = pack_bf16(from[i % 2 * 2], from[i % 2 * 2 + 1]);
            }
        }
#pragma unroll
        for (int n = 0; n < D / 8; n += 2) {
            uint32_t b[4];
            ldmatrix_x4_trans(b, tile + at<D>(16 * k + lane % 16, n, lane / 16));
            const uint32_t low[2] = {b[0], b[1]};
            const uint32_t high[2] = {b[2], b[3]};
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_bf16_m16n8k16(sums[m][n], a[m], low);
                mma_bf16_m16n8k16(sums[m][n + 1], a[m], high);
            }
        }
    }
}

// Writes factor · sums into the first `rows` of the warp's 16·M rows at `to`, `chunks` chunks of each, by way
// of rows of a tile that this warp alone uses; factor has one value for each of the lane's rows.
template <int D, int M>
__device__ __forceinline__ void store(
        bf16* to,
        long long stride,
        int rows,
        int chunks,
        bf16* tile,
        int row,
        const float (&sums)[M][D / 8][4],
        const float (&factor)[M][2]) {
    constexpr int WIDTH = D / CHUNK;
    const int lane = threadIdx.x % LANES;
    __syncwarp();
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int n = 0; n < WIDTH; n++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const float scale = factor[m][half];
                const int at_row = row + 16 * m + 8 * half + lane / 4;
                *reinterpret_cast<uint32_t*>(tile + at<D>(at_row, n) + lane % 4 * 2) =
                        pack_bf16(scale * sums[m][n][2 * half], scale * sums[m][n][2 * half + 1]);
            }
        }
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 16 * M * WIDTH / LANES; i++) {
        const int index = i * LANES + lane;
        const int r = index / WIDTH;
        const int chunk = index % WIDTH;
        if (r < rows && chunk < chunks) {
            *reinterpret_cast<uint4*>(to + r * stride + chunk * CHUNK) =
                    *reinterpret_cast<const uint4*>(tile + at<D>(row + r, chunk));
        }
    }
}

}  // namespace tiles
