#include "product.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

// Vectors as wide as the machine has; the address sanitizer is not ready when the choice is made.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define PER_MACHINE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PER_MACHINE
#endif

namespace product {

namespace {

constexpr int64_t tile_rows = 32;
constexpr int64_t tile_cols = 6;
/** Below this a second thread costs more than it brings. */
constexpr double threaded_work = 4e6;

float value_of_e4m3(uint8_t code) {
    const int exponent = code >> 3 & 15;
    const int mantissa = code & 7;
    float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                    : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    if ((code & 0x7f) == 0x7f) {
        magnitude = NAN;
    }
    return code & 0x80 ? -magnitude : magnitude;
}

float load(const void* at, Type type, int64_t index) {
    if (type == Type::F32) {
        return static_cast<const float*>(at)[index];
    }
    if (type == Type::E4M3) {
        return value_of_e4m3(static_cast<const uint8_t*>(at)[index]);
    }
    const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(at)[index]) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

void store(void* at, Type type, int64_t index, float value) {
    if (type == Type::F32) {
        static_cast<float*>(at)[index] = value;
        return;
    }
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    static_cast<uint16_t*>(at)[index] =
            static_cast<uint16_t>(nan ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

int64_t blocks(int64_t elements) {
    return (elements + 127) / 128;
}

/** Steps from one row of blocks to the next. */
int64_t block_stride(int64_t depth) {
    return (blocks(depth) + 3) / 4 * 4;
}

float scale_at(const Matrix& matrix, int64_t rows, int64_t depth, int64_t row, int64_t l) {
    switch (matrix.scaling) {
        case Scaling::ALL: return matrix.scales == nullptr ? 1.f : matrix.scales[0];
        case Scaling::ROW: return matrix.scales[row];
        case Scaling::PIECE: return matrix.scales[l / 128 * rows + row];
        case Scaling::BLOCK: return matrix.scales[row / 128 * block_stride(depth) + l / 128];
    }
    return NAN;
}

/** Strips of `width` rows of a matrix [rows, depth], depth after depth, padded with zeros. */
std::vector<float> pack(const Matrix& matrix, bool transposed, int64_t rows, int64_t depth, int64_t width) {
    const int64_t strips = (rows + width - 1) / width;
    std::vector<float> packed(static_cast<std::size_t>(strips * depth * width), 0.f);
    const int64_t row_step = transposed ? matrix.stride : 1;
    const int64_t depth_step = transposed ? 1 : matrix.stride;
    for (int64_t strip = 0; strip < strips; strip++) {
        const int64_t from = strip * width;
        const int64_t count = std::min(width, rows - from);
        float* const to = packed.data() + strip * depth * width;
        if (transposed) {
            for (int64_t i = 0; i < count; i++) {
                for (int64_t l = 0; l < depth; l++) {
                    to[l * width + i] = load(matrix.at, matrix.type, (from + i) * row_step + l * depth_step);
                }
            }
        } else {
            for (int64_t l = 0; l < depth; l++) {
                for (int64_t i = 0; i < count; i++) {
                    to[l * width + i] = load(matrix.at, matrix.type, (from + i) * row_step + l * depth_step);
                }
            }
        }
    }
    if (matrix.type == Type::E4M3) {
        for (int64_t strip = 0; strip < strips; strip++) {
            float* const to = packed.data() + strip * depth * width;
            for (int64_t l = 0; l < depth; l++) {
                for (int64_t i = 0; i < std::min(width, rows - strip * width); i++) {
                    to[l * width + i] *= scale_at(matrix, rows, depth, strip * width + i, l);
                }
            }
        }
    }
    return packed;
}

/** sums[tile_cols][tile_rows] = the product of two strips, over l in [from, to). */
PER_MACHINE void multiply_strips(float* sums, const float* a, const float* b, int64_t from, int64_t to) {
    float acc[tile_cols][tile_rows] = {};
    for (int64_t l = from; l < to; l++) {
        const float* const column = a + l * tile_rows;
        const float* const row = b + l * tile_cols;
        for (int64_t j = 0; j < tile_cols; j++) {
            for (int64_t i = 0; i < tile_rows; i++) {
                acc[j][i] += column[i] * row[j];
            }
        }
    }
    std::memcpy(sums, acc, sizeof acc);
}

void finish_tile(const Product& p, const float* sums, int64_t row, int64_t col) {
    for (int64_t j = 0; j < std::min(tile_cols, p.n - col); j++) {
        for (int64_t i = 0; i < std::min(tile_rows, p.m - row); i++) {
            float value = p.alpha * sums[j * tile_rows + i];
            if (p.beta != 0.f) {
                value += p.beta * load(p.c.at, p.c.type, (col + j) * p.c.stride + row + i);
            }
            if (p.bias != nullptr) {
                value += load(p.bias, p.d.type, row + i);
            }
            store(p.d.at, p.d.type, (col + j) * p.d.stride + row + i, value);
        }
    }
}

void multiply_columns(const Product& p, const float* a, const float* b, int64_t from, int64_t to) {
    const int64_t row_strips = (p.m + tile_rows - 1) / tile_rows;
    const int64_t part = (p.k + p.splits - 1) / p.splits;
    for (int64_t col = from; col < to; col++) {
        for (int64_t row = 0; row < row_strips; row++) {
            float sums[tile_cols * tile_rows] = {};
            for (int64_t begin = 0; begin < p.k; begin += part) {
                float parts[tile_cols * tile_rows];
                multiply_strips(parts, a + row * p.k * tile_rows, b + col * p.k * tile_cols, begin,
                        std::min(p.k, begin + part));
                for (int64_t i = 0; i < tile_cols * tile_rows; i++) {
                    sums[i] += parts[i];
                }
            }
            finish_tile(p, sums, row * tile_rows, col * tile_cols);
        }
    }
}

}  // namespace

std::size_t bytes_of(Type type) {
    return type == Type::F32 ? 4 : type == Type::BF16 ? 2 : 1;
}

int64_t scales_of(Scaling scaling, int64_t rows, int64_t depth) {
    switch (scaling) {
        case Scaling::ALL: return 1;
        case Scaling::ROW: return rows;
        case Scaling::PIECE: return rows * blocks(depth);
        case Scaling::BLOCK: return blocks(rows) * block_stride(depth);
    }
    return 0;
}

void multiply(const Product& p) {
    // Strips of A are rows of op(A); strips of B are columns of op(B).
    const std::vector<float> a = pack(p.a, p.a.transposed, p.m, p.k, tile_rows);
    const std::vector<float> b = pack(p.b, !p.b.transposed, p.n, p.k, tile_cols);
    const int64_t strips = (p.n + tile_cols - 1) / tile_cols;
    const double work = static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
    if (work < threaded_work) {
        multiply_columns(p, a.data(), b.data(), 0, strips);
        return;
    }
    std::thread other([&] { multiply_columns(p, a.data(), b.data(), strips / 2, strips); });
    multiply_columns(p, a.data(), b.data(), 0, strips / 2);
    other.join();
}

}  // namespace product
