// FP8 with 4 bits of exponent and 3 of mantissa: codes as the low byte of a word. No infinity; 0x7f and 0xff are NaN.
#pragma once

#include "types.cuh"

constexpr float E4M3_LARGEST = 448.f;

__device__ __forceinline__ float e4m3_value(uint32_t code) {
    const uint32_t magnitude = code & 0x7fu;
    // The code's exponent and mantissa where a float has its own, the bias put right by a product that is exact also
    // for what are denormal floats until then.
    const float value = magnitude == 0x7fu ? NAN : __uint_as_float(magnitude << 20) * 0x1p120f;
    return (code & 0x80u) != 0 ? -value : value;
}

// The nearest code, of two the even one; ±448 beyond the range; 0x7f for any NaN.
__device__ __forceinline__ uint32_t e4m3_code(float value) {
    const uint32_t bits = __float_as_uint(value);
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return 0x7fu;
    }
    magnitude = magnitude < 0x43e00000u ? magnitude : 0x43e00000u;
    // From 2^-6 on 20 bits of the mantissa are rounded away; below, 2^14 is added, whose last bit is worth 2^-9.
    const uint32_t code = magnitude >= 0x3c800000u
            ? ((magnitude + 0x7ffffu + (magnitude >> 20 & 1u)) >> 20) - 960u
            : __float_as_uint(__uint_as_float(magnitude) + 0x1p14f) - 0x46800000u;
    return code | (bits >> 24 & 0x80u);
}

// Four codes in a word, the first in its low byte. From sm_89 on the hardware has the same conversion.
__device__ __forceinline__ uint32_t e4m3_codes(const float (&values)[4]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    uint16_t low, high;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(values[1]), "f"(values[0]));
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(values[3]), "f"(values[2]));
    return static_cast<uint32_t>(high) << 16 | low;
#else
    return e4m3_code(values[0]) | e4m3_code(values[1]) << 8 | e4m3_code(values[2]) << 16 | e4m3_code(values[3]) << 24;
#endif
}
