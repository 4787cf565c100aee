// Matrix products on the CPU with the meaning of cuBLASLt's: column-major, sums in f32.
#pragma once

#include <cstddef>
#include <cstdint>

namespace product {

enum class Type { F32, BF16, E4M3 };

/** Which elements of op(A) = [m,k], or of op(B)'s transpose [n,k], have a factor in common. */
enum class Scaling {
    /** All of them; no factor where there is no address. */
    ALL,
    /** A row. */
    ROW,
    /** 128 elements of a row; factors of adjacent rows are adjacent. */
    PIECE,
    /** 128 x 128 elements; factors along k are adjacent, padded to a multiple of 4. */
    BLOCK,
};

struct Matrix {
    void* at;
    Type type;
    /** Elements from one column to the next. */
    int64_t stride;
    bool transposed;
    Scaling scaling = Scaling::ALL;
    const float* scales = nullptr;
};

/** Factors of a matrix of so many rows. */
int64_t scales_of(Scaling scaling, int64_t rows, int64_t depth);

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
