// How kernels go over matrices: rows of adjacent columns, which may be strided and unaligned.
#pragma once

#include "vector.cuh"

// Entries of a kernel for every storage type, by packs of 16 bytes and, for rows that are not aligned, by
// elements: ENTRY(suffix, T, N). Java's PackedRows picks one.
#define FOR_STORAGE_TYPES(ENTRY)                 \
    ENTRY(f32, float, Vector<float>::WIDTH)      \
    ENTRY(f32_scalar, float, 1)                  \
    ENTRY(bf16, bf16, Vector<bf16>::WIDTH)       \
    ENTRY(bf16_scalar, bf16, 1)

// Calls body(row, column) for packs of N columns. Threads lie along a row in x and across rows in y; each keeps
// its columns and goes down the rows, so nothing is divided and what depends on the column is computed once.
template <int N, class Body>
__device__ __forceinline__ void for_each_pack(long long rows, long long cols, Body body) {
    const long long col = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
    if (col >= cols) {
        return;
    }
    const long long step = static_cast<long long>(gridDim.y) * blockDim.y;
    for (long long row = static_cast<long long>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows; row += step) {
        body(row, col);
    }
}
