// What the kernels of bordered weights' thin products share: the description of a border, and the masks.
#pragma once

#include "philox.cuh"
#include "types.cuh"

namespace low_rank {

constexpr int MAX_PARTS = 40;
constexpr int NO_ADAPTER = -2;

// Adjacent columns of the border that belong to one block, or to none (NO_ADAPTER).
struct Part {
    float* gradient;            // dB + j or dA[j,:] of the part's first column; null where none is wanted
    long long gradient_stride;
    int column;                 // in the border
    int rank;                   // columns
    int adapter;
    int out_from;               // the module's columns of dY
    int out;
    float scale;                // of the gradient
    float kept;                 // 1/(1-p)
    unsigned threshold;         // of dropout: words below it drop; 0 for none
    int stream;
    int accumulate;
};

// Parts that share a pass over the columns from .. from + width of dY or X: their columns beside each other are
// the group's local columns.
struct Group {
    int from;
    int width;
    int first_part;
    int parts;
    int first_strip;
    int strips;
};

struct Table {
    int parts;
    int groups;
    Group group[MAX_PARTS];
    Part part[MAX_PARTS];
};

__device__ __forceinline__ float kept_factor(
        const Part& part, const int* rng, unsigned long long element) {
    if (part.threshold == 0) {
        return 1.f;
    }
    const PhiloxWords words = dropout_words(rng, element / 4, part.stream);
    return words.word[element % 4] >= part.threshold ? part.kept : 0.f;
}

// What becomes of a product: it counts where the column has an owner whose adapter the row uses.
__device__ __forceinline__ float owned(float value, const Part* part, const int* adapter_of_row, long long row) {
    if (part == nullptr || part->adapter == NO_ADAPTER) {
        return 0.f;
    }
    return adapter_of_row == nullptr || adapter_of_row[row] == part->adapter ? value : 0.f;
}

__device__ __forceinline__ const Part* part_of(const Table& table, int column) {
    for (int i = 0; i < table.parts; i++) {
        if (column >= table.part[i].column && column < table.part[i].column + table.part[i].rank) {
            return &table.part[i];
        }
    }
    return nullptr;
}

}  // namespace low_rank
