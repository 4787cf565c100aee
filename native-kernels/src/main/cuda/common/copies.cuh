// Where trained f32 values go: a table of copies, built once by Java (CopyTable.java writes this layout), so that one
// launch writes them all.
#pragma once

#include "vector.cuh"

// to[r,c] = scale·x[r·cols + c] for `count` elements x of a flat numbering, from `first` on.
struct Copy {
    long long first;
    long long count;
    long long cols;
    const float* from;
    long long from_stride;
    void* to;
    long long to_stride;
    float scale;
    int is_bf16;
};

// A run of elements in one row of a copy; nothing when `copy` is null.
struct CopyPlace {
    const Copy* copy;
    long long row;
    long long col;

    // The place of element i; `table` is sorted by first and need not cover every element.
    __device__ __forceinline__ CopyPlace(const Copy* table, int copies, long long i) {
        int low = 0;
        int high = copies;
        while (high - low > 1) {
            const int middle = (low + high) / 2;
            if (table[middle].first <= i) {
                low = middle;
            } else {
                high = middle;
            }
        }
        const Copy& found = table[low];
        const long long at = i - found.first;
        copy = at >= 0 && at < found.count ? &found : nullptr;
        row = copy == nullptr ? 0 : at / found.cols;
        col = at - row * found.cols;
    }

    // True when this element and the three behind it lie in one row.
    __device__ __forceinline__ bool holds_four() const {
        return copy != nullptr && col + 4 <= copy->cols;
    }

    __device__ __forceinline__ const float* from() const {
        return copy->from + row * copy->from_stride + col;
    }

    __device__ __forceinline__ void write(float value) const {
        if (copy == nullptr) {
            return;
        }
        const long long at = row * copy->to_stride + col;
        if (copy->is_bf16) {
            static_cast<bf16*>(copy->to)[at] = from_float<bf16>(copy->scale * value);
        } else {
            static_cast<float*>(copy->to)[at] = copy->scale * value;
        }
    }

    __device__ __forceinline__ void write_four(float4 value) const {
        const long long at = row * copy->to_stride + col;
        const float scale = copy->scale;
        const float scaled[4] = {scale * value.x, scale * value.y, scale * value.z, scale * value.w};
        if (copy->is_bf16) {
            bf16* const to = static_cast<bf16*>(copy->to) + at;
            if (reinterpret_cast<uintptr_t>(to) % 8 == 0) {
                *reinterpret_cast<uint2*>(to) =
                        make_uint2(pack_bf16(scaled[0], scaled[1]), pack_bf16(scaled[2], scaled[3]));
                return;
            }
#pragma unroll
            for (int i = 0; i < 4; i++) {
                to[i] = from_float<bf16>(scaled[i]);
            }
        } else {
            float* const to = static_cast<float*>(copy->to) + at;
            if (reinterpret_cast<uintptr_t>(to) % 16 == 0) {
                *reinterpret_cast<float4*>(to) = make_float4(scaled[0], scaled[1], scaled[2], scaled[3]);
                return;
            }
#pragma unroll
            for (int i = 0; i < 4; i++) {
                to[i] = scaled[i];
            }
        }
    }
};
