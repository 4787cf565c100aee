// Matrix products on the CPU with the meaning of cuBLASLt's: column-major, sums in f32.
#pragma once

#include <cstddef>
#include <cstdint>

namespace product {

enum class Type { F32, BF16 };

struct Matrix {
    void* at;
    Type type;
    /** Elements from one column to the next. */
    int64_t stride;
    bool transposed;
};

/** D[m,n] = alpha · op(A)[m,k] · op(B)[k,n] + beta · C + bias, the sum over k in `splits` parts. */
struct Product {
    int64_t m, n, k;
    Matrix a, b, c, d;
    float alpha, beta;
    /** Of D's type, one element per row; null for none. */
    const void* bias;
    int splits;
};

std::size_t bytes_of(Type type);

void multiply(const Product& product);

}  // namespace product
