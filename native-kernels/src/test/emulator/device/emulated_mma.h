// The instructions that common/mma.cuh writes as PTX. Each of them acts for the whole warp at once, when the
// last lane arrives, as the hardware does.
#pragma once

#include "language.h"

namespace emulator {

/** A lane's two bf16 neighbours as floats. */
inline void unpack(float* to, uint32_t pair) {
    to[0] = __uint_as_float(pair << 16);
    to[1] = __uint_as_float(pair & 0xffff0000u);
}

/** Sends a[0..3], b[0..1]; receives d[0..3] without what the lane had summed before. */
inline void multiply_m16n8k16(Round& round) {
    if (round.present != 0xffffffffu) {
        fault("mma.sync without the whole warp: lanes %08x", round.present);
    }
    alignas(64) float a[16][16], b[16][8], d[16][8] = {};
    for (int lane = 0; lane < warp_lanes; lane++) {
        const int g = lane / 4;
        const int t = lane % 4;
        const uint32_t* const sent = round.sent[lane];
        for (int i = 0; i < 4; i++) {
            unpack(&a[g + i % 2 * 8][2 * t + i / 2 * 8], sent[i]);
        }
        for (int i = 0; i < 2; i++) {
            float column[2];
            unpack(column, sent[4 + i]);
            b[2 * t + 8 * i][g] = column[0];
            b[2 * t + 8 * i + 1][g] = column[1];
        }
    }
    for (int row = 0; row < 16; row++) {
        for (int k = 0; k < 16; k++) {
            for (int column = 0; column < 8; column++) {
                d[row][column] += a[row][k] * b[k][column];
            }
        }
    }
    for (int lane = 0; lane < warp_lanes; lane++) {
        for (int i = 0; i < 4; i++) {
            round.received[lane][i] = __float_as_uint(d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2]);
        }
    }
}

/** Each lane sends the address of a row of 8 elements and receives two neighbours of every matrix. */
template <int matrices, bool transposed>
void load_matrices(Round& round) {
    if (round.present != 0xffffffffu) {
        fault("ldmatrix without the whole warp: lanes %08x", round.present);
    }
    for (int matrix = 0; matrix < matrices; matrix++) {
        uint16_t elements[8][8];
        for (int row = 0; row < 8; row++) {
            uintptr_t address;
            std::memcpy(&address, round.sent[8 * matrix + row], sizeof address);
            if (address % 16 != 0) {
                fault("ldmatrix: row %d of matrix %d is not 16-byte aligned", row, matrix);
            }
            std::memcpy(elements[row], reinterpret_cast<const void*>(address), 16);
        }
        for (int lane = 0; lane < warp_lanes; lane++) {
            const int i = lane / 4;
            const int j = lane % 4 * 2;
            const uint16_t low = transposed ? elements[j][i] : elements[i][j];
            const uint16_t high = transposed ? elements[j + 1][i] : elements[i][j + 1];
            round.received[lane][matrix] = static_cast<uint32_t>(high) << 16 | low;
        }
    }
}

template <int matrices, bool transposed>
void load_matrices(uint32_t (&r)[matrices], const void* row) {
    const Round& round = exchange(0xffffffffu, &row, sizeof row, "ldmatrix", load_matrices<matrices, transposed>);
    std::memcpy(r, round.received[lane_index()], sizeof r);
}

}  // namespace emulator

inline void mma_bf16_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    const uint32_t sent[] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const emulator::Round& round =
            emulator::exchange(0xffffffffu, sent, sizeof sent, "mma.sync", emulator::multiply_m16n8k16);
    const uint32_t* const received = round.received[emulator::lane_index()];
    for (int i = 0; i < 4; i++) {
        d[i] += __uint_as_float(received[i]);
    }
}

inline void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
    emulator::load_matrices<4, false>(r, row);
}

inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
    emulator::load_matrices<4, true>(r, row);
}

inline void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
    emulator::load_matrices<2, false>(r, row);
}

inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
    emulator::load_matrices<2, true>(r, row);
}

// The copy lands when it is waited for, and until then the target holds NaN: on a GPU it may land at any time
// in between, so neither what was there before nor what comes may be read.
inline void cp_async_16(void* shared, const void* global, bool valid) {
    if (reinterpret_cast<uintptr_t>(shared) % 16 != 0) {
        emulator::fault("cp.async: the shared address is not 16-byte aligned");
    }
    if (valid && reinterpret_cast<uintptr_t>(global) % 16 != 0) {
        emulator::fault("cp.async: the global address is not 16-byte aligned");
    }
    std::memset(shared, 0xff, 16);
    emulator::Fiber& fiber = emulator::current_fiber();
    fiber.copies.push_back({shared, global, valid, fiber.copy_groups});
}

inline void cp_async_commit() {
    emulator::current_fiber().copy_groups++;
}

template <int N>
inline void cp_async_wait() {
    emulator::Fiber& fiber = emulator::current_fiber();
    const int done = fiber.copy_groups - N;
    std::size_t kept = 0;
    for (const emulator::PendingCopy& copy : fiber.copies) {
        if (copy.group >= done) {
            fiber.copies[kept++] = copy;
        } else if (copy.valid) {
            std::memcpy(copy.to, copy.from, 16);
        } else {
            std::memset(copy.to, 0, 16);
        }
    }
    fiber.copies.resize(kept);
}
