// Philox4x32-10 (Salmon et al., SC11), word for word what jlora.runtime.kernel.Philox gives.
#pragma once

#include "types.cuh"

struct PhiloxWords {
    uint32_t word[4];
};

__device__ __forceinline__ PhiloxWords philox(
        uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint32_t high0 = __umulhi(0xD2511F53u, c0);
        const uint32_t low0 = 0xD2511F53u * c0;
        const uint32_t high1 = __umulhi(0xCD9E8D57u, c2);
        const uint32_t low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    PhiloxWords words;
    words.word[0] = c0;
    words.word[1] = c1;
    words.word[2] = c2;
    words.word[3] = c3;
    return words;
}

// The words of elements 4·block to 4·block + 3 of a dropout; rng as in LowRankKernel: seed, micro-batch.
__device__ __forceinline__ PhiloxWords dropout_words(const int* rng, unsigned long long block, int stream) {
    return philox(
            static_cast<uint32_t>(rng[0]),
            static_cast<uint32_t>(rng[1]),
            static_cast<uint32_t>(block),
            static_cast<uint32_t>(block >> 32),
            static_cast<uint32_t>(stream),
            static_cast<uint32_t>(rng[2]));
}
