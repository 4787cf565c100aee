// bfloat16 storage and its conversions: round to nearest, ties to even, as the hardware does.
#pragma once

#include "language.h"

struct alignas(2) __nv_bfloat16 {
    unsigned short __x;
};

struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
    return __nv_bfloat16{bits};
}

inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) {
    return value.__x;
}

inline float __bfloat162float(__nv_bfloat16 value) {
    return __uint_as_float(static_cast<unsigned>(value.__x) << 16);
}

inline __nv_bfloat16 __float2bfloat16_rn(float value) {
    const unsigned bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return __nv_bfloat16{0x7fff};
    }
    return __nv_bfloat16{static_cast<unsigned short>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}

inline __nv_bfloat16 __float2bfloat16(float value) {
    return __float2bfloat16_rn(value);
}

inline __nv_bfloat16 __float2bfloat16_rz(float value) {
    const unsigned bits = __float_as_uint(value);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return __nv_bfloat16{static_cast<unsigned short>(nan ? 0x7fff : bits >> 16)};
}

inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 low, __nv_bfloat16 high) {
    return __nv_bfloat162{low, high};
}

inline __nv_bfloat162 __floats2bfloat162_rn(float low, float high) {
    return __nv_bfloat162{__float2bfloat16_rn(low), __float2bfloat16_rn(high)};
}

inline __nv_bfloat162 __float22bfloat162_rn(float2 pair) {
    return __floats2bfloat162_rn(pair.x, pair.y);
}

inline __nv_bfloat162 __float2bfloat162_rn(float both) {
    return __floats2bfloat162_rn(both, both);
}

inline float2 __bfloat1622float2(__nv_bfloat162 pair) {
    return float2{__bfloat162float(pair.x), __bfloat162float(pair.y)};
}

inline float __low2float(__nv_bfloat162 pair) {
    return __bfloat162float(pair.x);
}

inline float __high2float(__nv_bfloat162 pair) {
    return __bfloat162float(pair.y);
}
