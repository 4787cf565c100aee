// How kernels go over flat f32 buffers.
#pragma once

#include "types.cuh"

// Calls pack(i) for the `packs` runs of four elements i..i + 3 from element `head` on, and one(i) for the elements
// before and behind them; the threads of the whole grid take turns. `head` elements lead to a multiple of 16 bytes; a
// launch over buffers that are not aligned alike has no packs (FlatSpan.java).
template <class Pack, class One>
__device__ __forceinline__ void for_each_float4(
        long long head, long long packs, long long count, Pack pack, One one) {
    const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
    const long long thread = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    for (long long p = thread; p < packs; p += step) {
        pack(head + 4 * p);
    }
    const long long rest = count - 4 * packs;
    for (long long i = thread; i < rest; i += step) {
        one(i < head ? i : i + 4 * packs);
    }
}
