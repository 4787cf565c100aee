// SwiGLU: out = silu(gate)·up, silu(z) = z·σ(z), with σ(z) = 1/(1 + e⁻ᶻ).
//
// gate_up [T,2F] holds gate in columns 0..F and up in F..2F; out and d_out are [T,F].
// forward writes out with =; backward writes d_gate_up [T,2F] with =.
// Bytes per element of out, in units of the storage type: forward 3 (two read, one written), backward 5.
#include "common/rows.cuh"

namespace swiglu {

__device__ __forceinline__ float sigmoid(float z) {
    return 1.f / (1.f + expf(-z));
}

template <class T, int N>
__device__ __forceinline__ void forward(
        T* __restrict__ out,
        long long out_stride,
        const T* __restrict__ gate_up,
        long long gate_up_stride,
        long long rows,
        long long cols) {
    for_each_pack<N>(rows, cols, [=](long long row, long long col) {
        const T* const from = gate_up + row * gate_up_stride + col;
        float gate[N], up[N];
        load<N>(gate, from);
        load<N>(up, from + cols);
#pragma unroll
        for (int i = 0; i < N; i++) {
            gate[i] *= sigmoid(gate[i]) * up[i];
        }
        store<N>(out + row * out_stride + col, gate);
    });
}

// d silu(z)/dz = σ(z)·(1 + z·(1 − σ(z))).
template <class T, int N>
__device__ __forceinline__ void backward(
        T* __restrict__ d_gate_up,
        long long d_gate_up_stride,
        const T* __restrict__ d_out,
        long long d_out_stride,
        const T* __restrict__ gate_up,
        long long gate_up_stride,
        long long rows,
        long long cols) {
    for_each_pack<N>(rows, cols, [=](long long row, long long col) {
        const T* const from = gate_up + row * gate_up_stride + col;
        T* const to = d_gate_up + row * d_gate_up_stride + col;
        float gate[N], up[N], d[N];
        load<N>(gate, from);
        load<N>(up, from + cols);
        load<N>(d, d_out + row * d_out_stride + col);
#pragma unroll
        for (int i = 0; i < N; i++) {
            const float z = gate[i];
            const float s = sigmoid(z);
            gate[i] = d[i] * up[i] * (s * fmaf(z, 1.f - s, 1.f));
            up[i] = d[i] * (z * s);
        }
        store<N>(to, gate);
        store<N>(to + cols, up);
    });
}

}  // namespace swiglu

#define SWIGLU(suffix, T, N)                                                                              \
    extern "C" __global__ void swiglu_forward_##suffix(                                                   \
            T* out, long long out_stride, const T* gate_up, long long gate_up_stride, long long rows,     \
            long long cols) {                                                                             \
        swiglu::forward<T, N>(out, out_stride, gate_up, gate_up_stride, rows, cols);                      \
    }                                                                                                     \
    extern "C" __global__ void swiglu_backward_##suffix(                                                  \
            T* d_gate_up, long long d_gate_up_stride, const T* d_out, long long d_out_stride,             \
            const T* gate_up, long long gate_up_stride, long long rows, long long cols) {                 \
        swiglu::backward<T, N>(                                                                           \
                d_gate_up, d_gate_up_stride, d_out, d_out_stride, gate_up, gate_up_stride, rows, cols);   \
    }

FOR_STORAGE_TYPES(SWIGLU)
