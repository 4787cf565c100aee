// GELU. The exact form x·Φ(x), and the tanh approximation ½x(1 + tanh y) = x·σ(2y), y = √(2/π)(x + 0.044715x³).
//
// x, out, d_out, d_x: [T,F]. forward writes out with =, backward d_x with =.
// Bytes per element, in units of the storage type: forward 2, backward 3.
#include "common/rows.cuh"

namespace gelu {

// 2·√(2/π) and 0.044715 of it.
constexpr float LINEAR = 1.59576912f;
constexpr float CUBIC = 0.07135481627f;
// Beyond this both forms are x or 0 and their slopes 1 or 0 in f32; it keeps powers of x finite.
constexpr float FAR = 30.f;

__device__ __forceinline__ float bounded(float x) {
    return fminf(fmaxf(x, -FAR), FAR);
}

struct Erf {
    static __device__ __forceinline__ float gate(float x) {
        return fmaf(0.5f, erff(0.70710678f * x), 0.5f);
    }
    static __device__ __forceinline__ float slope(float x) {
        const float density = 0.39894228f * expf(-0.5f * x * x);
        return fmaf(x, density, gate(x));
    }
};

struct Tanh {
    static __device__ __forceinline__ float gate(float x) {
        const float b = bounded(x);
        return 1.f / (1.f + expf(-b * fmaf(b * b, CUBIC, LINEAR)));
    }
    static __device__ __forceinline__ float slope(float x) {
        const float s = gate(x);
        return fmaf(x * s * (1.f - s), fmaf(x * x, 3.f * CUBIC, LINEAR), s);
    }
};

template <class Form, class T, int N>
__device__ __forceinline__ void forward(
        T* __restrict__ out,
        long long out_stride,
        const T* __restrict__ x,
        long long x_stride,
        long long rows,
        long long cols) {
    for_each_pack<N>(rows, cols, [=](long long row, long long col) {
        float a[N];
        load<N>(a, x + row * x_stride + col);
#pragma unroll
        for (int i = 0; i < N; i++) {
            a[i] *= Form::gate(a[i]);
        }
        store<N>(out + row * out_stride + col, a);
    });
}

template <class Form, class T, int N>
__device__ __forceinline__ void backward(
        T* __restrict__ d_x,
        long long d_x_stride,
        const T* __restrict__ d_out,
        long long d_out_stride,
        const T* __restrict__ x,
        long long x_stride,
        long long rows,
        long long cols) {
    for_each_pack<N>(rows, cols, [=](long long row, long long col) {
        float a[N], d[N];
        load<N>(a, x + row * x_stride + col);
        load<N>(d, d_out + row * d_out_stride + col);
#pragma unroll
        for (int i = 0; i < N; i++) {
            d[i] *= Form::slope(bounded(a[i]));
        }
        store<N>(d_x + row * d_x_stride + col, d);
    });
}

}  // namespace gelu

#define GELU(suffix, T, N)                                                                                \
    GELU_FORM(erf, gelu::Erf, suffix, T, N)                                                               \
    GELU_FORM(tanh, gelu::Tanh, suffix, T, N)

#define GELU_FORM(name, Form, suffix, T, N)                                                               \
    extern "C" __global__ void gelu_##name##_forward_##suffix(                                            \
            T* out, long long out_stride, const T* x, long long x_stride, long long rows,                 \
            long long cols) {                                                                             \
        gelu::forward<Form, T, N>(out, out_stride, x, x_stride, rows, cols);                              \
    }                                                                                                     \
    extern "C" __global__ void gelu_##name##_backward_##suffix(                                           \
            T* d_x, long long d_x_stride, const T* d_out, long long d_out_stride, const T* x,             \
            long long x_stride, long long rows, long long cols) {                                         \
        gelu::backward<Form, T, N>(d_x, d_x_stride, d_out, d_out_stride, x, x_stride, rows, cols);        \
    }

FOR_STORAGE_TYPES(GELU)
