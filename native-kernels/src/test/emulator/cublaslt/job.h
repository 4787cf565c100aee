// A product on its way into a stream: what the stand-ins for cuBLASLt and cuBLAS have in common.
#pragma once

#include <cstddef>
#include <vector>

#include "product.h"

enum cublasStatus_t : int {
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_NOT_INITIALIZED = 1,
    CUBLAS_STATUS_ALLOC_FAILED = 3,
    CUBLAS_STATUS_INVALID_VALUE = 7,
    CUBLAS_STATUS_ARCH_MISMATCH = 8,
    CUBLAS_STATUS_EXECUTION_FAILED = 13,
    CUBLAS_STATUS_INTERNAL_ERROR = 14,
    CUBLAS_STATUS_NOT_SUPPORTED = 15,
};

namespace product {

constexpr int data_type_f32 = 0;
constexpr int data_type_bf16 = 14;
constexpr int data_type_e4m3 = 28;
constexpr int compute_f32 = 68;
constexpr int compute_f32_pedantic = 69;
constexpr int operation_transpose = 1;

inline bool is_known(int type) {
    return type == data_type_f32 || type == data_type_bf16;
}

/** Of types that are known: whether there are products of A and B of one and D of the other. */
inline bool types_go_together(int a, int b, int c, int d) {
    return a == b && c == d && (a == data_type_bf16 || d == data_type_f32);
}

inline Type type_of(int type) {
    return type == data_type_f32 ? Type::F32 : type == data_type_bf16 ? Type::BF16 : Type::E4M3;
}

/** Bytes from the first to the last element of `cols` columns. */
std::size_t bytes_of(int type, int64_t rows, int64_t cols, int64_t stride);

bool aligned(const void* at, std::size_t bytes);

struct Job {
    Product product;
    /** Operands, the workspace, the bias: what must lie in live allocations. */
    struct Range {
        const char* what;
        const void* at;
        std::size_t bytes;
    };
    std::vector<Range> ranges;
    void* workspace = nullptr;
    std::size_t workspace_bytes = 0;
};

/** Runs the job in the stream's turn, or records it; takes the job. */
cublasStatus_t enqueue(void* stream, const char* name, Job* job);

}  // namespace product
