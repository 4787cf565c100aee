// Arithmetic that CUDA C++ has and the C library has not.
#pragma once

template <class T>
T __ldg(const T* at) {
    return *at;
}

template <class T>
T __ldcg(const T* at) {
    return *at;
}

template <class T>
T __ldcs(const T* at) {
    return *at;
}

template <class T>
void __stcg(T* at, T value) {
    *at = value;
}

template <class T>
void __stcs(T* at, T value) {
    *at = value;
}

namespace emulator {
template <class To, class From>
To bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
}  // namespace emulator

inline unsigned __float_as_uint(float value) {
    return emulator::bits<unsigned>(value);
}

inline int __float_as_int(float value) {
    return emulator::bits<int>(value);
}

inline float __uint_as_float(unsigned value) {
    return emulator::bits<float>(value);
}

inline float __int_as_float(int value) {
    return emulator::bits<float>(value);
}

inline long long __double_as_longlong(double value) {
    return emulator::bits<long long>(value);
}

inline double __longlong_as_double(long long value) {
    return emulator::bits<double>(value);
}

inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}

inline int __mulhi(int a, int b) {
    return static_cast<int>(static_cast<int64_t>(a) * b >> 32);
}

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}

inline int __popc(unsigned value) {
    return __builtin_popcount(value);
}

inline int __popcll(unsigned long long value) {
    return __builtin_popcountll(value);
}

inline int __clz(int value) {
    return value == 0 ? 32 : __builtin_clz(static_cast<unsigned>(value));
}

inline int __clzll(long long value) {
    return value == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(value));
}

inline int __ffs(int value) {
    return __builtin_ffs(value);
}

inline int __ffsll(long long value) {
    return __builtin_ffsll(value);
}

inline unsigned __brev(unsigned value) {
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++) {
        reversed |= (value >> i & 1) << (31 - i);
    }
    return reversed;
}

/** Bytes picked out of two words by the digits of the selector. */
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const uint64_t both = static_cast<uint64_t>(high) << 32 | low;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned digit = selector >> (4 * i) & 0xf;
        unsigned byte = static_cast<unsigned>(both >> (8 * (digit & 7))) & 0xff;
        if (digit & 8) {
            byte = byte & 0x80 ? 0xff : 0;
        }
        result |= byte << (8 * i);
    }
    return result;
}

inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (shift & 31) >> 32);
}

inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}

inline float __expf(float x) {
    return expf(x);
}

inline float __exp10f(float x) {
    return exp10f(x);
}

inline float __logf(float x) {
    return logf(x);
}

inline float __log2f(float x) {
    return log2f(x);
}

inline float __powf(float x, float y) {
    return powf(x, y);
}

inline float __sinf(float x) {
    return sinf(x);
}

inline float __cosf(float x) {
    return cosf(x);
}

inline void __sincosf(float x, float* sine, float* cosine) {
    sincosf(x, sine, cosine);
}

inline float __tanhf(float x) {
    return tanhf(x);
}

inline float __fdividef(float x, float y) {
    return x / y;
}

inline float __fdiv_rn(float x, float y) {
    return x / y;
}

inline float __frcp_rn(float x) {
    return 1.f / x;
}

inline float __fsqrt_rn(float x) {
    return sqrtf(x);
}

inline float rsqrtf(float x) {
    return 1.f / sqrtf(x);
}

inline float __frsqrt_rn(float x) {
    return rsqrtf(x);
}

inline double rsqrt(double x) {
    return 1. / sqrt(x);
}

/** A product and a sum that stay two roundings: no compiler may fuse them. */
__attribute__((noinline)) inline float __fmul_rn(float x, float y) {
    return x * y;
}

__attribute__((noinline)) inline float __fadd_rn(float x, float y) {
    return x + y;
}

__attribute__((noinline)) inline float __fsub_rn(float x, float y) {
    return x - y;
}

inline float __fmaf_rn(float x, float y, float z) {
    return fmaf(x, y, z);
}

inline float __saturatef(float x) {
    return x > 0.f ? (x < 1.f ? x : 1.f) : 0.f;
}

inline float normcdff(float x) {
    return 0.5f * erfcf(x * -0.70710678118654752f);
}

inline int __float2int_rn(float x) {
    return static_cast<int>(nearbyintf(x));
}

inline int __float2int_rd(float x) {
    return static_cast<int>(floorf(x));
}

inline int __float2int_rz(float x) {
    return static_cast<int>(x);
}

inline unsigned __float2uint_rn(float x) {
    return static_cast<unsigned>(nearbyintf(x));
}

inline float __int2float_rn(int x) {
    return static_cast<float>(x);
}

inline float __uint2float_rn(unsigned x) {
    return static_cast<float>(x);
}

inline float __ull2float_rn(unsigned long long x) {
    return static_cast<float>(x);
}

inline float __double2float_rn(double x) {
    return static_cast<float>(x);
}

inline void __nanosleep(unsigned) {}

inline void __trap() {
    emulator::fault("__trap");
}

#define EMULATOR_MIN_MAX(T)          \
    inline T min(T a, T b) {         \
        return b < a ? b : a;        \
    }                                \
    inline T max(T a, T b) {         \
        return a < b ? b : a;        \
    }

EMULATOR_MIN_MAX(int)
EMULATOR_MIN_MAX(unsigned)
EMULATOR_MIN_MAX(long)
EMULATOR_MIN_MAX(unsigned long)
EMULATOR_MIN_MAX(long long)
EMULATOR_MIN_MAX(unsigned long long)

#undef EMULATOR_MIN_MAX

// As in CUDA, a NaN loses against a number.
inline float min(float a, float b) {
    return fminf(a, b);
}

inline float max(float a, float b) {
    return fmaxf(a, b);
}

inline double min(double a, double b) {
    return fmin(a, b);
}

inline double max(double a, double b) {
    return fmax(a, b);
}

// Mixed signs and widths, as the CUDA headers declare them.
inline unsigned min(unsigned a, int b) {
    return min(a, static_cast<unsigned>(b));
}

inline unsigned max(unsigned a, int b) {
    return max(a, static_cast<unsigned>(b));
}

inline unsigned min(int a, unsigned b) {
    return min(static_cast<unsigned>(a), b);
}

inline unsigned max(int a, unsigned b) {
    return max(static_cast<unsigned>(a), b);
}
