// A matrix product by CUDA cores, for shapes that no library takes: a block of 256 threads makes TILE x TILE
// results, blocks run over columns first, sums are f32 and run along k.
#pragma once

#include "vector.cuh"

namespace product_tile {

constexpr int TILE = 64;
constexpr int DEPTH = 16;
constexpr int THREADS = 256;
constexpr int OWN = 4;           // a thread has OWN x OWN results
constexpr int PITCH = TILE + 4;  // rows of a panel in shared memory stay 16-byte aligned

// DEPTH columns of TILE rows of an operand: [k][row].
using Panel = float[DEPTH][PITCH];

// Fills a panel with read(row of the tile, k), neighbouring threads along k or along rows.
template <class Read>
__device__ __forceinline__ void load(Panel& panel, bool along_k, Read read) {
#pragma unroll
    for (int part = 0; part < TILE * DEPTH / THREADS; part++) {
        const int at = part * THREADS + threadIdx.x;
        const int i = along_k ? at / DEPTH : at % TILE;
        const int k = along_k ? at % DEPTH : at / TILE;
        panel[k][i] = read(i, k);
    }
}

// left(panel, first row, k0) and right(panel, first column, k0) load panels, zero outside of the operand;
// store(row, column, sum) takes the results.
template <class Left, class Right, class Store>
__device__ __forceinline__ void run(
        long long rows, long long cols, long long depth, Left left, Right right, Store store) {
    __shared__ __align__(16) Panel left_panel;
    __shared__ __align__(16) Panel right_panel;
    const long long across = (cols + TILE - 1) / TILE;
    const long long row0 = blockIdx.x / across * TILE;
    const long long col0 = blockIdx.x % across * TILE;
    const int own_row = threadIdx.x / (TILE / OWN) * OWN;
    const int own_col = threadIdx.x % (TILE / OWN) * OWN;
    float sums[OWN][OWN] = {};
    for (long long k0 = 0; k0 < depth; k0 += DEPTH) {
        left(left_panel, row0, k0);
        right(right_panel, col0, k0);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float l[OWN];
            float r[OWN];
            load_vector<float>(l, &left_panel[k][own_row]);
            load_vector<float>(r, &right_panel[k][own_col]);
#pragma unroll
            for (int i = 0; i < OWN; i++) {
#pragma unroll
                for (int j = 0; j < OWN; j++) {
                    sums[i][j] = fmaf(l[i], r[j], sums[i][j]);
                }
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < OWN; i++) {
#pragma unroll
        for (int j = 0; j < OWN; j++) {
            const long long row = row0 + own_row + i;
            const long long col = col0 + own_col + j;
            if (row < rows && col < cols) {
                store(row, col, sums[i][j]);
            }
        }
    }
}

}  // namespace product_tile
