// Sums and maxima over warps and blocks, in a fixed order: the same input gives the same bits.
#pragma once

#include "types.cuh"

constexpr int WARP = 32;
constexpr unsigned FULL_WARP = 0xffffffffu;

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        value += __shfl_xor_sync(FULL_WARP, value, offset);
    }
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        value = fmaxf(value, __shfl_xor_sync(FULL_WARP, value, offset));
    }
    return value;
}

struct SumOf {
    static __device__ __forceinline__ float identity() {
        return 0.f;
    }
    static __device__ __forceinline__ float warp(float value) {
        return warp_sum(value);
    }
};

struct MaxOf {
    static __device__ __forceinline__ float identity() {
        return -INFINITY;
    }
    static __device__ __forceinline__ float warp(float value) {
        return warp_max(value);
    }
};

// Over all threads of a one-dimensional block of whole warps; every thread calls it and gets the result.
// It may be called again at once: the first barrier protects the shared words of the call before.
template <class Op>
__device__ __forceinline__ float block_reduce(float value) {
    __shared__ float parts[WARP];
    const int lane = threadIdx.x % WARP;
    const int warp = threadIdx.x / WARP;
    const int warps = blockDim.x / WARP;
    value = Op::warp(value);
    __syncthreads();
    if (lane == 0) {
        parts[warp] = value;
    }
    __syncthreads();
    return Op::warp(lane < warps ? parts[lane] : Op::identity());
}

__device__ __forceinline__ float block_sum(float value) {
    return block_reduce<SumOf>(value);
}

__device__ __forceinline__ float block_max(float value) {
    return block_reduce<MaxOf>(value);
}

// A sum in f64 over all threads of a one-dimensional block of whole warps; the first thread's result counts.
__device__ __forceinline__ double block_sum(double value) {
    __shared__ double parts[WARP];
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        value += __shfl_xor_sync(FULL_WARP, value, offset);
    }
    if (threadIdx.x % WARP == 0) {
        parts[threadIdx.x / WARP] = value;
    }
    __syncthreads();
    value = 0.;
    if (threadIdx.x == 0) {
        for (unsigned warp = 0; warp < blockDim.x / WARP; warp++) {
            value += parts[warp];
        }
    }
    return value;
}
