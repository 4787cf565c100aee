// Loads and stores of 16 bytes: 8 bf16 or 4 f32 as floats in registers.
#pragma once

#include "types.cuh"

// How many elements of T a thread moves at once.
template <class T>
struct Vector {
    static constexpr int WIDTH = 16 / sizeof(T);
};

// 16 bytes of T, as floats. `pointer` must be 16-byte aligned.
template <class T>
__device__ __forceinline__ void load_vector(float (&to)[Vector<T>::WIDTH], const T* pointer);

template <>
__device__ __forceinline__ void load_vector<float>(float (&to)[4], const float* pointer) {
    const float4 v = *reinterpret_cast<const float4*>(pointer);
    to[0] = v.x;
    to[1] = v.y;
    to[2] = v.z;
    to[3] = v.w;
}

__device__ __forceinline__ void unpack_bf16(float& low, float& high, uint32_t pair) {
    low = __uint_as_float(pair << 16);
    high = __uint_as_float(pair & 0xffff0000u);
}

__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
}

template <>
__device__ __forceinline__ void load_vector<bf16>(float (&to)[8], const bf16* pointer) {
    const uint4 v = *reinterpret_cast<const uint4*>(pointer);
    unpack_bf16(to[0], to[1], v.x);
    unpack_bf16(to[2], to[3], v.y);
    unpack_bf16(to[4], to[5], v.z);
    unpack_bf16(to[6], to[7], v.w);
}

// Rounds and stores 16 bytes of T. `pointer` must be 16-byte aligned.
template <class T>
__device__ __forceinline__ void store_vector(T* pointer, const float (&from)[Vector<T>::WIDTH]);

template <>
__device__ __forceinline__ void store_vector<float>(float* pointer, const float (&from)[4]) {
    *reinterpret_cast<float4*>(pointer) = make_float4(from[0], from[1], from[2], from[3]);
}

template <>
__device__ __forceinline__ void store_vector<bf16>(bf16* pointer, const float (&from)[8]) {
    uint4 v;
    v.x = pack_bf16(from[0], from[1]);
    v.y = pack_bf16(from[2], from[3]);
    v.z = pack_bf16(from[4], from[5]);
    v.w = pack_bf16(from[6], from[7]);
    *reinterpret_cast<uint4*>(pointer) = v;
}

// N elements, by 16 bytes when N is the type's width, one element when N is 1: kernels are templates of
// N, and a launch over rows that are not aligned takes N = 1.
template <int N, class T>
__device__ __forceinline__ void load(float (&to)[N], const T* pointer) {
    if constexpr (N == Vector<T>::WIDTH) {
        load_vector<T>(to, pointer);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) {
            to[i] = to_float(pointer[i]);
        }
    }
}

template <int N, class T>
__device__ __forceinline__ void store(T* pointer, const float (&from)[N]) {
    if constexpr (N == Vector<T>::WIDTH) {
        store_vector<T>(pointer, from);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) {
            pointer[i] = from_float<T>(from[i]);
        }
    }
}
