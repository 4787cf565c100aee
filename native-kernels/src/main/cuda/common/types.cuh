// Storage types and what differs between nvcc and the emulator. No kernels in common/.
#pragma once

#include <cuda_bf16.h>
#include <math.h>
#include <stdint.h>

#ifdef JLORA_EMULATOR
#include "emulated_mma.h"
#define DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(emulator::dynamic_shared())
#else
// One symbol for all kernels, 16-byte aligned: cp.async and ldmatrix need that.
extern __shared__ __align__(16) unsigned char jlora_dynamic_shared[];
#define DYNAMIC_SHARED(type, name) type* const name = reinterpret_cast<type*>(jlora_dynamic_shared)
#endif

typedef __nv_bfloat16 bf16;

__device__ __forceinline__ float to_float(float value) {
    return value;
}

__device__ __forceinline__ float to_float(bf16 value) {
    return __bfloat162float(value);
}

// Rounds to nearest, ties to even.
template <class T>
__device__ __forceinline__ T from_float(float value);

template <>
__device__ __forceinline__ float from_float<float>(float value) {
    return value;
}

template <>
__device__ __forceinline__ bf16 from_float<bf16>(float value) {
    return __float2bfloat16_rn(value);
}

// The value as it would be read back from storage.
template <class T>
__device__ __forceinline__ float rounded(float value) {
    return to_float(from_float<T>(value));
}

