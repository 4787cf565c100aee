#include "product.h"

#include <algorithm>
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

float load(const void* at, Type type, int64_t index) {
    if (type == Type::F32) {
        return static_cast<const float*>(at)[index];
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
    return type == Type::F32 ? 4 : 2;
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
