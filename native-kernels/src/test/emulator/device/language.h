// CUDA C++ as g++ reads it: qualifiers, built-in variables, barriers and warp collectives. Included before
// every kernel file.
#pragma once

#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "block.h"
#include "vector_types.h"

#ifndef __global__
#define __global__
#define __launch_bounds__(...)
#endif
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __grid_constant__

// A plain static: every worker thread has a copy of the whole library of its own. It is filled with poison
// before each block.
#define __shared__ static

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = emulator::warp_lanes;

inline void __syncthreads() {
    emulator::barrier(0);
}

inline int __syncthreads_count(int predicate) {
    return emulator::barrier(predicate != 0);
}

inline int __syncthreads_or(int predicate) {
    return emulator::barrier(predicate != 0) > 0;
}

inline int __syncthreads_and(int predicate) {
    return emulator::barrier(predicate == 0) == 0;
}

inline void __syncwarp(unsigned mask = 0xffffffffu) {
    emulator::exchange(mask, nullptr, 0, "__syncwarp", nullptr);
}

namespace emulator {

/** The value of another lane; all bits set, a NaN, where that lane takes no part: a GPU gives anything. */
template <class T>
T shuffle(unsigned mask, T value, int source, const char* call) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2, "shuffles move 2, 4 or 8 bytes");
    const Round& round = exchange(mask, &value, sizeof value, call, nullptr);
    T result;
    if (round.present >> source & 1) {
        std::memcpy(&result, round.sent[source], sizeof result);
    } else {
        std::memset(&result, 0xff, sizeof result);
    }
    return result;
}

}  // namespace emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize) {
    const int lane = emulator::lane_index();
    return emulator::shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), "__shfl_sync");
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize) {
    const int lane = emulator::lane_index();
    const int source = lane ^ lanes;
    const int last = lane | (width - 1);
    return emulator::shuffle(mask, value, source > last ? lane : source, "__shfl_xor_sync");
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize) {
    const int lane = emulator::lane_index();
    const int inside = lane & (width - 1);
    const int source = inside + static_cast<int>(delta) >= width ? lane : lane + static_cast<int>(delta);
    return emulator::shuffle(mask, value, source, "__shfl_down_sync");
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize) {
    const int lane = emulator::lane_index();
    const int inside = lane & (width - 1);
    const int source = inside < static_cast<int>(delta) ? lane : lane - static_cast<int>(delta);
    return emulator::shuffle(mask, value, source, "__shfl_up_sync");
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
    const uint32_t word = predicate != 0;
    const emulator::Round& round = emulator::exchange(mask, &word, sizeof word, "__ballot_sync", nullptr);
    unsigned bits = 0;
    for (int lane = 0; lane < warpSize; lane++) {
        bits |= (round.present >> lane & round.sent[lane][0] & 1) << lane;
    }
    return bits;
}

inline int __any_sync(unsigned mask, int predicate) {
    return __ballot_sync(mask, predicate) != 0;
}

inline int __all_sync(unsigned mask, int predicate) {
    return __ballot_sync(mask, !predicate) == 0;
}

namespace emulator {

/** A reduction over a mask, as __reduce_*_sync gives it (sm_80, 32-bit integers alone). */
template <class Combine2>
uint32_t reduce(unsigned mask, uint32_t word, const char* call, Combine2 combine) {
    const Round& round = exchange(mask, &word, sizeof word, call, nullptr);
    uint32_t result = 0;
    bool first = true;
    for (int lane = 0; lane < warp_lanes; lane++) {
        if (round.present >> lane & 1) {
            result = first ? round.sent[lane][0] : combine(result, round.sent[lane][0]);
            first = false;
        }
    }
    return result;
}

}  // namespace emulator

inline unsigned __reduce_add_sync(unsigned mask, unsigned value) {
    return emulator::reduce(mask, value, "__reduce_add_sync", [](uint32_t a, uint32_t b) { return a + b; });
}

inline unsigned __reduce_max_sync(unsigned mask, unsigned value) {
    return emulator::reduce(
            mask, value, "__reduce_max_sync", [](uint32_t a, uint32_t b) { return a > b ? a : b; });
}

inline unsigned __reduce_or_sync(unsigned mask, unsigned value) {
    return emulator::reduce(mask, value, "__reduce_or_sync", [](uint32_t a, uint32_t b) { return a | b; });
}

// Threads of a block take turns and do not move between OS threads; blocks meet only in atomics.
inline void __threadfence() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

inline void __threadfence_block() {}

#include "atomics.h"
#include "intrinsics.h"
