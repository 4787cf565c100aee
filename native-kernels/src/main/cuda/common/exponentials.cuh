// Powers of two by one instruction.
#pragma once

#include "types.cuh"

constexpr float LOG2_E = 1.4426950408889634f;

// 2^x with a relative error of 2^-22; 0 for −∞.
__device__ __forceinline__ float exp2_fast(float x) {
#ifdef JLORA_EMULATOR
    return exp2f(x);
#else
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#endif
}
