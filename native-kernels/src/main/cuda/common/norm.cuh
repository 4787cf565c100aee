// What RMS norm and layer norm share: a row is read once and held in registers, by one warp when it is short and
// by a whole block when it is long (NormLaunch.java chooses).
#pragma once

#include "reduce.cuh"
#include "vector.cuh"

// Threads of a block at most; with HELD elements each that is the longest row, 16384.
#define NORM_THREADS 512

// Entries by storage type, elements that a thread holds and elements of a pack: ENTRY(suffix, T, HELD, N).
#define FOR_NORM_ROWS(ENTRY)                                       \
    ENTRY(f32_16, float, 16, Vector<float>::WIDTH)                 \
    ENTRY(f32_32, float, 32, Vector<float>::WIDTH)                 \
    ENTRY(f32_scalar, float, 32, 1)                                \
    ENTRY(bf16_16, bf16, 16, Vector<bf16>::WIDTH)                  \
    ENTRY(bf16_32, bf16, 32, Vector<bf16>::WIDTH)                  \
    ENTRY(bf16_scalar, bf16, 32, 1)

// The threads that work on one row: a warp, or the block. Either way the choice is the launch's, not a thread's.
struct RowTeam {
    int threads;
    int thread;
    // Teams of the grid, and this one's number.
    long long teams;
    long long team;

    __device__ __forceinline__ explicit RowTeam(int threads_per_row) : threads(threads_per_row) {
        const int per_block = static_cast<int>(blockDim.x) / threads;
        thread = static_cast<int>(threadIdx.x) % threads;
        teams = static_cast<long long>(gridDim.x) * per_block;
        team = static_cast<long long>(blockIdx.x) * per_block + threadIdx.x / threads;
    }

    __device__ __forceinline__ float sum(float value) const {
        return threads == WARP ? warp_sum(value) : block_sum(value);
    }
};

// Calls body(first held element, column) for each pack of N columns that this thread holds of a row.
template <int HELD, int N, class Body>
__device__ __forceinline__ void for_each_held(const RowTeam& team, int cols, Body body) {
#pragma unroll
    for (int held = 0; held < HELD; held += N) {
        const int col = held * team.threads + team.thread * N;
        if (col < cols) {
            body(held, col);
        }
    }
}

// Elements of a row, zero behind its end.
template <int N, int HELD, class T>
__device__ __forceinline__ void load_row(float (&to)[HELD], const T* row, const RowTeam& team, int cols) {
#pragma unroll
    for (int i = 0; i < HELD; i++) {
        to[i] = 0.f;
    }
    for_each_held<HELD, N>(team, cols, [&](int held, int col) {
        float pack[N];
        load<N>(pack, row + col);
#pragma unroll
        for (int i = 0; i < N; i++) {
            to[held + i] = pack[i];
        }
    });
}

template <int N, int HELD, class T>
__device__ __forceinline__ void store_row(T* row, const float (&from)[HELD], const RowTeam& team, int cols) {
    for_each_held<HELD, N>(team, cols, [&](int held, int col) {
        float pack[N];
#pragma unroll
        for (int i = 0; i < N; i++) {
            pack[i] = from[held + i];
        }
        store<N>(row + col, pack);
    });
}

// s = x + residual as it is stored, or x alone; the sum is written where there is a residual.
template <int N, int HELD, class T>
__device__ __forceinline__ void load_sum(
        float (&s)[HELD], T* sum, const T* x, const T* residual, const RowTeam& team, int cols) {
    load_row<N>(s, x, team, cols);
    if (residual != nullptr) {
        float other[HELD];
        load_row<N>(other, residual, team, cols);
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            s[i] = rounded<T>(s[i] + other[i]);
        }
        store_row<N>(sum, s, team, cols);
    }
}

// The pass that ends the gradients of a norm's parameters: to[c] = (or += where `accumulate`) the sum of
// partial[0..parts][c], always in the same order. One block of 32x32 threads per 32 columns.
__device__ __forceinline__ void add_partials(
        float* __restrict__ to, const float* __restrict__ partial, int parts, int cols, int accumulate) {
    __shared__ float sums[WARP][WARP + 1];
    const int lane = threadIdx.x % WARP;
    const int group = threadIdx.x / WARP;
    const long long col = static_cast<long long>(blockIdx.x) * WARP + lane;
    float sum = 0.f;
    if (col < cols) {
#pragma unroll 4
        for (int part = group; part < parts; part += WARP) {
            sum += partial[static_cast<long long>(part) * cols + col];
        }
    }
    sums[group][lane] = sum;
    __syncthreads();
    // Each warp ends one column, then the first lanes write theirs.
    const float total = warp_sum(sums[lane][group]);
    const long long mine = static_cast<long long>(blockIdx.x) * WARP + group;
    if (lane == 0 && mine < cols) {
        to[mine] = accumulate ? to[mine] + total : total;
    }
}
