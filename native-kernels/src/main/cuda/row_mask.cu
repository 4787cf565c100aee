// Keeps each token to its own adapter: u[t,c] = 0 wherever adapter_of_column[c] ≠ adapter_of_row[t], in place.
//
// u [T,R], adapter_of_row [T], adapter_of_column [R]. Only what becomes zero is written, with =; u is not read.
// Bytes per element, in units of the storage type: at most 1.
#include "common/rows.cuh"

namespace row_mask {

template <class T, int N>
__device__ __forceinline__ void apply(
        T* u,
        long long u_stride,
        const int* __restrict__ adapter_of_row,
        const int* __restrict__ adapter_of_column,
        long long rows,
        long long cols) {
    for_each_pack<N>(rows, cols, [=](long long row, long long col) {
        const int adapter = adapter_of_row[row];
        T* const target = u + row * u_stride + col;
        unsigned masked = 0;
#pragma unroll
        for (int i = 0; i < N; i++) {
            masked |= static_cast<unsigned>(adapter_of_column[col + i] != adapter) << i;
        }
        if (masked == (1u << N) - 1) {
            const float zeros[N] = {};
            store<N>(target, zeros);
        } else if (masked != 0) {
            // An adapter's columns end inside the pack.
#pragma unroll
            for (int i = 0; i < N; i++) {
                if (masked >> i & 1) {
                    target[i] = from_float<T>(0.f);
                }
            }
        }
    });
}

}  // namespace row_mask

#define ROW_MASK(suffix, T, N)                                                                            \
    extern "C" __global__ void row_mask_apply_##suffix(                                                   \
            T* u, long long u_stride, const int* adapter_of_row, const int* adapter_of_column,            \
            long long rows, long long cols) {                                                             \
        row_mask::apply<T, N>(u, u_stride, adapter_of_row, adapter_of_column, rows, cols);                \
    }

FOR_STORAGE_TYPES(ROW_MASK)
