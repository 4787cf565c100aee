// Packed sequences: cuSeqlens, as AttentionKernel describes it. How many there are and where they begin is
// data on the device, so a grid is launched for the most tiles there can be, and blocks find their rows here.
#pragma once

#include "types.cuh"

namespace sequences {

// Rows of one sequence, or behind the last one.
struct Span {
    int start;
    int length;
    // Position in the sequence of the first row of a tile.
    int first;
    // The number of the sequence; that of sequences for the rows behind the last one.
    int index;
};

// Tile `tile` of `rows` rows; false when there is none of that number, of tokens / rows + sequences + 1.
// Sequence i has the numbers from start(i)/rows + i on: no fewer than it has tiles, and monotone in i, so a
// binary search over cuSeqlens finds it.
__device__ __forceinline__ bool find_tile(
        Span& span, const int* cu_seqlens, int sequences, int tokens, int tile, int rows) {
    int low = 0;
    int high = sequences;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (cu_seqlens[middle] / rows + middle <= tile) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    span.index = low;
    span.start = cu_seqlens[low];
    span.length = (low < sequences ? cu_seqlens[low + 1] : tokens) - span.start;
    span.first = (tile - span.start / rows - low) * rows;
    return span.first < span.length;
}

// The sequence of a row.
__device__ __forceinline__ void find_row(
        Span& span, const int* cu_seqlens, int sequences, int tokens, int row) {
    int low = 0;
    int high = sequences;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (cu_seqlens[middle] <= row) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    span.index = low;
    span.start = cu_seqlens[low];
    span.length = (low < sequences ? cu_seqlens[low + 1] : tokens) - span.start;
    span.first = row - span.start;
}

}  // namespace sequences
