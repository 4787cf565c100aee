// The thin products of bordered weights (kernel/LowRankKernel): X [T,K] and dY [T,N] are large, the border's R
// columns few, so each kernel reads its large operand once and is bound by that.
//
//   forward          U[t,c] = mask(X)[t,:]·A[c,:]        tiles of 128 rows, all of 64 columns; K in splits
//   backward_output  dU[t,c] = dY[t,:]·sB[:,c], dB[n,c] = s·dY[:,n]·U[:,c]
//                                                         strips of 512 columns by splits of T, one pass
//   backward_a       dA[c,k] = dU[:,c]·mask(X)[:,k]       strips of 256 columns by splits of T, one pass
//   backward_input_dropout   dX += mask(dU·A)
//
// What a strip or a split cannot finish goes as f32 into scratch and a second kernel adds it up, always in the
// same order; that kernel also overwrites or adds to the gradients, zeroes U and dU where a token uses another
// adapter, and zeroes the columns that no block owns. Scratch in MB for Llama-3.1-8B, T = 4096, r = 16, 132
// multiprocessors (strips x splits), beside what is streamed:
//
//                     backward_output                           backward_a          forward
//   q/k/v   R 48   dY  50: dU  3.1 (12) + dB 4.3 (11)      X  34:  6.3 (16 x 9)     X  34:  3.9 (5)
//   gate/up R 32   dY 235: dU 14.7 (56) + dB 5.5 (3)       X  34:  4.7 (16 x 9)     X  34:  2.6 (5)
//   down    R 16   dY  34: dU  2.1 (8)  + dB 4.5 (17)      X 117:  2.8 (56 x 3)     X 117:  1.3 (5)
//
// These stay in the L2 cache of the GPUs this is for. Blocks each cover their own outputs only: the zeros of
// sB are neither read nor multiplied. Rows that are not whole 16 bytes, and f32 storage, are the business of
// low_rank_scalar.cu.
#include "common/low_rank.cuh"
#include "common/mma.cuh"
#include "common/philox.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

namespace low_rank {

// --- Masks ---------------------------------------------------------------------------------------------------

// The four elements from a multiple of four on, as two packed pairs of bf16.
__device__ __forceinline__ uint2 masked_quad(uint2 quad, const PhiloxWords& words, unsigned threshold) {
    quad.x &= (words.word[0] >= threshold ? 0x0000ffffu : 0u) | (words.word[1] >= threshold ? 0xffff0000u : 0u);
    quad.y &= (words.word[2] >= threshold ? 0x0000ffffu : 0u) | (words.word[3] >= threshold ? 0xffff0000u : 0u);
    return quad;
}

// --- Tiles in shared memory ----------------------------------------------------------------------------------

// Rows of `columns` bf16 in pieces of 16 bytes, swizzled so that eight rows at one column lie in different banks.
template <int COLUMNS>
__device__ __forceinline__ bf16* tile_at(bf16* tile, int row, int column) {
    return tile + row * COLUMNS + (((column / 8) ^ (row & 7)) * 8 + column % 8);
}

// Starts to copy a tile; zeros beyond the rows and columns that are there.
template <int ROWS, int COLUMNS, int THREADS>
__device__ __forceinline__ void load_tile(bf16* tile, const bf16* from, long long stride, int rows, int columns) {
    constexpr int PIECES = COLUMNS / 8;
#pragma unroll
    for (int i = threadIdx.x; i < ROWS * PIECES; i += THREADS) {
        const int row = i / PIECES;
        const int column = i % PIECES * 8;
        const bool valid = row < rows && column < columns;
        cp_async_16(tile_at<COLUMNS>(tile, row, column), valid ? from + row * stride + column : from, valid);
    }
}

// to = the tile under a part's mask; element (row, column) is (first_row + row, first_column + column) of X.
template <int ROWS, int COLUMNS, int THREADS>
__device__ __forceinline__ void mask_tile(
        bf16* to,
        bf16* from,
        const Part& part,
        const int* rng,
        long long first_row,
        int first_column,
        int row_length) {
    constexpr int QUADS = COLUMNS / 4;
#pragma unroll 1
    for (int i = threadIdx.x; i < ROWS * QUADS; i += THREADS) {
        const int row = i / QUADS;
        const int column = i % QUADS * 4;
        const unsigned long long element = (first_row + row) * row_length + first_column + column;
        const PhiloxWords words = dropout_words(rng, element / 4, part.stream);
        const uint2 quad = *reinterpret_cast<const uint2*>(tile_at<COLUMNS>(from, row, column));
        *reinterpret_cast<uint2*>(tile_at<COLUMNS>(to, row, column)) = masked_quad(quad, words, part.threshold);
    }
}

// --- forward -------------------------------------------------------------------------------------------------

constexpr int FORWARD_ROWS = 128;
constexpr int FORWARD_DEPTH = 64;
constexpr int FORWARD_COLUMNS = 64;
constexpr int FORWARD_STAGES = 3;
constexpr int FORWARD_THREADS = 128;

// Zeros a fragment of B for columns outside a part.
__device__ __forceinline__ void restrict_columns(uint32_t (&b)[4], int column, int from, int to) {
    if (column < from || column >= to) {
        b[0] = b[1] = 0;
    }
    if (column + 8 < from || column + 8 >= to) {
        b[2] = b[3] = 0;
    }
}

template <bool DROPOUT>
__device__ __forceinline__ void forward_chunk(
        float (&sums)[2][8][4], bf16* x, bf16* a, int pairs, int from, int to) {
    const int lane = threadIdx.x % WARP;
    const int warp = threadIdx.x / WARP;
    const int matrix = lane / 8;
#pragma unroll
    for (int step = 0; step < FORWARD_DEPTH / 16; step++) {
        uint32_t rows[2][4];
#pragma unroll
        for (int m = 0; m < 2; m++) {
            ldmatrix_x4(
                    rows[m],
                    tile_at<FORWARD_DEPTH>(
                            x, warp * 32 + m * 16 + matrix % 2 * 8 + lane % 8, step * 16 + matrix / 2 * 8));
        }
#pragma unroll
        for (int pair = 0; pair < 4; pair++) {
            if (pair < pairs && (!DROPOUT || (pair * 16 < to && pair * 16 + 16 > from))) {
                uint32_t columns[4];
                ldmatrix_x4(
                        columns,
                        tile_at<FORWARD_DEPTH>(
                                a, pair * 16 + matrix / 2 * 8 + lane % 8, step * 16 + matrix % 2 * 8));
                if (DROPOUT) {
                    restrict_columns(columns, pair * 16 + lane / 4, from, to);
                }
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const uint32_t b[2] = {columns[2 * half], columns[2 * half + 1]};
                    mma_bf16_m16n8k16(sums[0][2 * pair + half], rows[0], b);
                    mma_bf16_m16n8k16(sums[1][2 * pair + half], rows[1], b);
                }
            }
        }
    }
}

// Grid: tiles of rows, splits of K, groups of 64 columns. With one split u is written, else partial
// [splits, tokens, columns].
template <bool DROPOUT>
__device__ __forceinline__ void forward(
        bf16* u,
        long long u_stride,
        float* partial,
        const bf16* x,
        long long x_stride,
        const bf16* a,
        long long a_stride,
        const int* adapter_of_row,
        const int* rng,
        int tokens,
        int depth,
        int columns,
        const Table& table) {
    DYNAMIC_SHARED(bf16, shared);
    constexpr int X_TILE = FORWARD_ROWS * FORWARD_DEPTH;
    constexpr int STAGE = X_TILE + FORWARD_COLUMNS * FORWARD_DEPTH;
    bf16* const masked = shared + FORWARD_STAGES * STAGE;
    const int row0 = blockIdx.x * FORWARD_ROWS;
    const int column0 = blockIdx.z * FORWARD_COLUMNS;
    const int wide = min(FORWARD_COLUMNS, columns - column0);
    const int pairs = (wide + 15) / 16;
    const int chunks = (depth + FORWARD_DEPTH - 1) / FORWARD_DEPTH;
    const int first = static_cast<int>(static_cast<long long>(chunks) * blockIdx.y / gridDim.y);
    const int count = static_cast<int>(static_cast<long long>(chunks) * (blockIdx.y + 1) / gridDim.y) - first;
    x += static_cast<long long>(row0) * x_stride;
    a += static_cast<long long>(column0) * a_stride;

    auto load_stage = [&](int i) {
        if (i < count) {
            bf16* const stage = shared + i % FORWARD_STAGES * STAGE;
            const int k = (first + i) * FORWARD_DEPTH;
            load_tile<FORWARD_ROWS, FORWARD_DEPTH, FORWARD_THREADS>(
                    stage, x + k, x_stride, tokens - row0, depth - k);
            load_tile<FORWARD_COLUMNS, FORWARD_DEPTH, FORWARD_THREADS>(
                    stage + X_TILE, a + k, a_stride, wide, depth - k);
        }
        cp_async_commit();
    };

    float sums[2][8][4] = {};
    for (int i = 0; i < FORWARD_STAGES - 1; i++) {
        load_stage(i);
    }
    for (int i = 0; i < count; i++) {
        cp_async_wait<FORWARD_STAGES - 2>();
        __syncthreads();
        load_stage(i + FORWARD_STAGES - 1);
        bf16* const tile = shared + i % FORWARD_STAGES * STAGE;
        if (DROPOUT) {
            for (int p = 0; p < table.parts; p++) {
                const Part& part = table.part[p];
                const int from = part.column - column0;
                const int to = from + part.rank;
                if (to <= 0 || from >= wide || part.adapter == NO_ADAPTER) {
                    continue;
                }
                bf16* seen = tile;
                if (part.threshold != 0) {
                    __syncthreads();
                    mask_tile<FORWARD_ROWS, FORWARD_DEPTH, FORWARD_THREADS>(
                            masked, tile, part, rng, row0, (first + i) * FORWARD_DEPTH, depth);
                    __syncthreads();
                    seen = masked;
                }
                forward_chunk<true>(sums, seen, tile + X_TILE, pairs, from, to);
            }
        } else {
            forward_chunk<false>(sums, tile, tile + X_TILE, pairs, 0, wide);
        }
    }

    const int lane = threadIdx.x % WARP;
    const int warp = threadIdx.x / WARP;
#pragma unroll
    for (int tile = 0; tile < 8; tile++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int column = tile * 8 + lane % 4 * 2 + i;
            if (column >= wide) {
                continue;
            }
            const Part* const part = gridDim.y == 1 ? part_of(table, column0 + column) : nullptr;
#pragma unroll
            for (int m = 0; m < 2; m++) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const long long row = row0 + warp * 32 + m * 16 + half * 8 + lane / 4;
                    const float sum = sums[m][tile][2 * half + i];
                    if (row >= tokens) {
                        continue;
                    }
                    if (gridDim.y == 1) {
                        const float value = part == nullptr ? 0.f : sum * part->kept;
                        u[row * u_stride + column0 + column] = from_float<bf16>(owned(value, part, adapter_of_row, row));
                    } else {
                        partial[(blockIdx.y * static_cast<long long>(tokens) + row) * columns + column0 + column] = sum;
                    }
                }
            }
        }
    }
}

// u = the sum of the splits. Grid: elements.
__device__ __forceinline__ void forward_sum(
        bf16* u,
        long long u_stride,
        const float* partial,
        const int* adapter_of_row,
        int tokens,
        int columns,
        int splits,
        const Table& table) {
    const long long element = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    const long long elements = static_cast<long long>(tokens) * columns;
    if (element >= elements) {
        return;
    }
    const long long row = element / columns;
    const int column = static_cast<int>(element % columns);
    float sum = 0.f;
    for (int split = 0; split < splits; split++) {
        sum += partial[split * elements + element];
    }
    const Part* const part = part_of(table, column);
    const float value = part == nullptr ? 0.f : sum * part->kept;
    u[row * u_stride + column] = from_float<bf16>(owned(value, part, adapter_of_row, row));
}

// --- One pass over the rows of dY or X -----------------------------------------------------------------------

// The part that a group's local column belongs to, and its border column.
struct Local {
    const Part* part;
    int j;
};

__device__ __forceinline__ Local local_column(const Table& table, const Group& group, int local) {
    for (int i = 0; i < group.parts; i++) {
        const Part& part = table.part[group.first_part + i];
        if (local < part.rank) {
            return {&part, local};
        }
        local -= part.rank;
    }
    return {nullptr, 0};
}

__device__ __forceinline__ int group_of(const Table& table, int strip) {
    int g = 0;
    while (strip >= table.group[g].first_strip + table.group[g].strips) {
        g++;
    }
    return g;
}

// Sizes of a pass: strips of the streamed operand, rows at a time, local columns.
template <int STRIP_, int ROWS_, int STAGES_, int LOCALS_, bool PROJECTS_>
struct Pass {
    static constexpr int STRIP = STRIP_;
    static constexpr int ROWS = ROWS_;
    static constexpr int STAGES = STAGES_;
    static constexpr int LOCALS = LOCALS_;
    // Forms dU too, not only a gradient.
    static constexpr bool PROJECTS = PROJECTS_;

    static constexpr int THREADS = 256;
    static constexpr int WARPS = THREADS / WARP;
    // Of a warp: 16-column tiles of the strip.
    static constexpr int M_TILES = STRIP / WARPS / 16;
    static constexpr int N_TILES = LOCALS / 8;
    static constexpr int TILE = ROWS * STRIP;
    // Rows of U and of sums start in different banks.
    static constexpr int SIDE_STRIDE = LOCALS + 8;
    static constexpr int SIDE = ROWS * SIDE_STRIDE;
    static constexpr int SIDE_EACH = ROWS * LOCALS / THREADS;

    // dB is [n, j], dA is [j, k]: partial sums lie as the gradient does.
    static __device__ __forceinline__ int partial_at(int column, int local) {
        return PROJECTS ? column * LOCALS + local : local * STRIP + column;
    }
};

typedef Pass<512, 16, 4, 16, true> Output16;
typedef Pass<512, 16, 4, 32, true> Output32;
typedef Pass<256, 16, 8, 32, false> A32;
typedef Pass<256, 16, 8, 64, false> A64;

// A gradient's element: column of the strip's operand, local column of the group.
template <class P>
__device__ __forceinline__ void put_gradient(const Local& at, int column, float sum) {
    if (at.part == nullptr || at.part->gradient == nullptr) {
        return;
    }
    const Part& part = *at.part;
    float* const to = part.gradient
            + (P::PROJECTS ? column * part.gradient_stride + at.j : at.j * part.gradient_stride + column);
    *to = (part.accumulate ? *to : 0.f) + part.scale * sum;
}

// sums[local, strip column] += side[rows, local]·tile[rows, strip column], over the rows of a tile.
template <class P, bool RESTRICTED>
__device__ __forceinline__ void gradient_step(
        float (&sums)[P::M_TILES][P::N_TILES][4], bf16* tile, bf16* side, int locals, int from, int to) {
    const int lane = threadIdx.x % WARP;
    const int warp = threadIdx.x / WARP;
    const int matrix = lane / 8;
#pragma unroll 1
    for (int step = 0; step < P::ROWS / 16; step++) {
        uint32_t columns[P::M_TILES][4];
#pragma unroll
        for (int m = 0; m < P::M_TILES; m++) {
            ldmatrix_x4_trans(
                    columns[m],
                    tile_at<P::STRIP>(
                            tile,
                            step * 16 + matrix / 2 * 8 + lane % 8,
                            (warp * P::M_TILES + m) * 16 + matrix % 2 * 8));
        }
#pragma unroll
        for (int pair = 0; pair < P::N_TILES / 2; pair++) {
            if (pair * 16 < locals && (!RESTRICTED || (pair * 16 < to && pair * 16 + 16 > from))) {
                uint32_t gradients[4];
                const int row = step * 16 + matrix % 2 * 8 + lane % 8;
                ldmatrix_x4_trans(gradients, side + row * P::SIDE_STRIDE + pair * 16 + matrix / 2 * 8);
                if (RESTRICTED) {
                    restrict_columns(gradients, pair * 16 + lane / 4, from, to);
                }
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const uint32_t b[2] = {gradients[2 * half], gradients[2 * half + 1]};
#pragma unroll
                    for (int m = 0; m < P::M_TILES; m++) {
                        mma_bf16_m16n8k16(sums[m][2 * pair + half], columns[m], b);
                    }
                }
            }
        }
    }
}

// A warp's fragments of sB: constant over the rows, so they stay in registers.
template <class P>
__device__ __forceinline__ void load_b(
        uint32_t (&b)[P::M_TILES][P::N_TILES][2],
        const bf16* from,
        long long stride,
        const Table& table,
        const Group& group,
        int width) {
    const int lane = threadIdx.x % WARP;
    const int warp = threadIdx.x / WARP;
#pragma unroll
    for (int tile = 0; tile < P::N_TILES; tile++) {
        const Local at = local_column(table, group, tile * 8 + lane / 4);
#pragma unroll
        for (int m = 0; m < P::M_TILES; m++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int row = (warp * P::M_TILES + m) * 16 + i * 8 + lane % 4 * 2;
                float pair[2] = {};
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    if (at.part != nullptr && row + e < width) {
                        pair[e] = to_float(from[(row + e) * stride + at.part->column + at.j]);
                    }
                }
                b[m][tile][i] = pack_bf16(pair[0], pair[1]);
            }
        }
    }
}

// One tile of dU over the warp's columns, into shared memory; the warps' parts are added up there.
template <class P>
__device__ __forceinline__ void project_step(
        float* sums, bf16* tile, const uint32_t (&b)[P::M_TILES][P::N_TILES][2]) {
    const int lane = threadIdx.x % WARP;
    const int warp = threadIdx.x / WARP;
    const int matrix = lane / 8;
#pragma unroll
    for (int step = 0; step < P::ROWS / 16; step++) {
        float du[P::N_TILES][4] = {};
#pragma unroll
        for (int m = 0; m < P::M_TILES; m++) {
            uint32_t rows[4];
            ldmatrix_x4(
                    rows,
                    tile_at<P::STRIP>(
                            tile,
                            step * 16 + matrix % 2 * 8 + lane % 8,
                            (warp * P::M_TILES + m) * 16 + matrix / 2 * 8));
#pragma unroll
            for (int n = 0; n < P::N_TILES; n++) {
                mma_bf16_m16n8k16(du[n], rows, b[m][n]);
            }
        }
#pragma unroll
        for (int n = 0; n < P::N_TILES; n++) {
            float* const at = sums + (warp * P::ROWS + step * 16 + lane / 4) * P::SIDE_STRIDE + n * 8 + lane % 4 * 2;
            *reinterpret_cast<float2*>(at) = make_float2(du[n][0], du[n][1]);
            *reinterpret_cast<float2*>(at + 8 * P::SIDE_STRIDE) = make_float2(du[n][2], du[n][3]);
        }
    }
}

// Grid: strips of all groups, splits of the rows. du_partial [strips, tokens, LOCALS], gradient_partial
// [splits, strips, STRIP·LOCALS]; with one split the gradients are written at once.
template <class P, bool DROPOUT>
__device__ __forceinline__ void stream(
        float* du_partial,
        float* gradient_partial,
        const bf16* streamed,
        long long stride,
        const bf16* side,
        long long side_stride,
        const bf16* b,
        long long b_stride,
        const int* rng,
        int tokens,
        int row_length,
        const Table& table) {
    DYNAMIC_SHARED(bf16, shared);
    bf16* const sides = shared + P::STAGES * P::TILE;
    // The sums of dU, or the masked tile: 16-byte aligned both, as SIDE is a multiple of 8.
    bf16* const masked = sides + 2 * P::SIDE;
    float* const du_sums = reinterpret_cast<float*>(masked);

    const int strip = blockIdx.x;
    const Group& group = table.group[group_of(table, strip)];
    const int column0 = (strip - group.first_strip) * P::STRIP;
    const int width = min(P::STRIP, group.width - column0);
    int locals = 0;
    for (int i = 0; i < group.parts; i++) {
        locals += table.part[group.first_part + i].rank;
    }
    const int tiles = (tokens + P::ROWS - 1) / P::ROWS;
    const int first = static_cast<int>(static_cast<long long>(tiles) * blockIdx.y / gridDim.y);
    const int count = static_cast<int>(static_cast<long long>(tiles) * (blockIdx.y + 1) / gridDim.y) - first;
    const long long row0 = static_cast<long long>(first) * P::ROWS;
    const int rows = tokens - static_cast<int>(row0);
    streamed += row0 * stride + group.from + column0;

    auto load_stage = [&](int i) {
        if (i < count) {
            load_tile<P::ROWS, P::STRIP, P::THREADS>(
                    shared + i % P::STAGES * P::TILE,
                    streamed + static_cast<long long>(i) * P::ROWS * stride,
                    stride,
                    rows - i * P::ROWS,
                    width);
        }
        cp_async_commit();
    };

    // This thread's elements of U (or dU): one local column, every so many rows, fetched a tile ahead.
    const int my_local = threadIdx.x % P::LOCALS;
    const int my_row = threadIdx.x / P::LOCALS;
    constexpr int ROW_STEP = P::THREADS / P::LOCALS;
    const Local mine = local_column(table, group, my_local);
    const bool fetches = mine.part != nullptr && mine.part->gradient != nullptr;
    side += row0 * side_stride + (fetches ? mine.part->column + mine.j : 0);
    bf16 next[P::SIDE_EACH];
    auto fetch_side = [&](int i) {
#pragma unroll
        for (int e = 0; e < P::SIDE_EACH; e++) {
            const int row = i * P::ROWS + my_row + e * ROW_STEP;
            next[e] = fetches && i < count && row < rows ? side[row * side_stride] : from_float<bf16>(0.f);
        }
    };

    float sums[P::M_TILES][P::N_TILES][4] = {};
    for (int i = 0; i < P::STAGES - 1; i++) {
        load_stage(i);
    }
    fetch_side(0);
    uint32_t b_fragments[P::M_TILES][P::N_TILES][2];
    if (P::PROJECTS) {
        load_b<P>(b_fragments, b + static_cast<long long>(group.from + column0) * b_stride, b_stride, table, group, width);
    }
    for (int i = 0; i < count; i++) {
        bf16* const side_tile = sides + i % 2 * P::SIDE;
#pragma unroll
        for (int e = 0; e < P::SIDE_EACH; e++) {
            side_tile[(my_row + e * ROW_STEP) * P::SIDE_STRIDE + my_local] = next[e];
        }
        cp_async_wait<P::STAGES - 2>();
        __syncthreads();
        load_stage(i + P::STAGES - 1);
        fetch_side(i + 1);
        bf16* const tile = shared + i % P::STAGES * P::TILE;
        if (P::PROJECTS) {
            project_step<P>(du_sums, tile, b_fragments);
        }
        if (DROPOUT) {
            int from = 0;
            for (int p = 0; p < group.parts; p++) {
                const Part& part = table.part[group.first_part + p];
                bf16* seen = tile;
                if (part.threshold != 0) {
                    __syncthreads();
                    mask_tile<P::ROWS, P::STRIP, P::THREADS>(
                            masked, tile, part, rng, row0 + i * P::ROWS, group.from + column0, row_length);
                    __syncthreads();
                    seen = masked;
                }
                gradient_step<P, true>(sums, seen, side_tile, locals, from, from + part.rank);
                from += part.rank;
            }
        } else {
            gradient_step<P, false>(sums, tile, side_tile, locals, 0, locals);
        }
        if (P::PROJECTS) {
            __syncthreads();
#pragma unroll
            for (int e = 0; e < P::SIDE_EACH; e++) {
                const int row = my_row + e * ROW_STEP;
                const long long token = row0 + i * P::ROWS + row;
                float du = 0.f;
#pragma unroll
                for (int warp = 0; warp < P::WARPS; warp++) {
                    du += du_sums[(warp * P::ROWS + row) * P::SIDE_STRIDE + my_local];
                }
                if (token < tokens && my_local < locals) {
                    du_partial[(static_cast<long long>(strip) * tokens + token) * P::LOCALS + my_local] = du;
                }
            }
        }
    }

    const int lane = threadIdx.x % WARP;
    const int warp = threadIdx.x / WARP;
    float* const partial = gradient_partial
            + (static_cast<long long>(blockIdx.y) * gridDim.x + strip) * P::STRIP * P::LOCALS;
#pragma unroll
    for (int n = 0; n < P::N_TILES; n++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int local = n * 8 + lane % 4 * 2 + i;
            const Local at = local_column(table, group, local);
#pragma unroll
            for (int m = 0; m < P::M_TILES; m++) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int column = (warp * P::M_TILES + m) * 16 + half * 8 + lane / 4;
                    if (at.part == nullptr || column >= width) {
                        continue;
                    }
                    const float sum = sums[m][n][2 * half + i];
                    if (gridDim.y == 1) {
                        put_gradient<P>(at, column0 + column, sum);
                    } else {
                        partial[P::partial_at(column, local)] = sum;
                    }
                }
            }
        }
    }
}

// Grid: elements of a group's dU, then of its gradients; groups.
template <class P>
__device__ __forceinline__ void stream_sum(
        bf16* du,
        long long du_stride,
        const float* du_partial,
        const float* gradient_partial,
        const int* adapter_of_row,
        int tokens,
        int strips,
        int splits,
        const Table& table) {
    const Group& group = table.group[blockIdx.y];
    long long element = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (P::PROJECTS) {
        const long long elements = static_cast<long long>(tokens) * P::LOCALS;
        if (element < elements) {
            const long long row = element / P::LOCALS;
            const Local at = local_column(table, group, static_cast<int>(element % P::LOCALS));
            if (at.part != nullptr) {
                float sum = 0.f;
                for (int strip = 0; strip < group.strips; strip++) {
                    sum += du_partial[(group.first_strip + strip) * elements + element];
                }
                du[row * du_stride + at.part->column + at.j] =
                        from_float<bf16>(owned(sum, at.part, adapter_of_row, row));
            }
            return;
        }
        element -= elements;
    }
    constexpr int EACH = P::STRIP * P::LOCALS;
    if (splits == 1 || element >= static_cast<long long>(group.strips) * EACH) {
        return;
    }
    const int strip = static_cast<int>(element / EACH);
    const int inside = static_cast<int>(element % EACH);
    const int column = P::PROJECTS ? inside / P::LOCALS : inside % P::STRIP;
    const Local at = local_column(table, group, P::PROJECTS ? inside % P::LOCALS : inside / P::STRIP);
    if (at.part == nullptr || strip * P::STRIP + column >= group.width) {
        return;
    }
    const float* const from = gradient_partial + static_cast<long long>(group.first_strip + strip) * EACH + inside;
    float sum = 0.f;
    for (int split = 0; split < splits; split++) {
        sum += from[static_cast<long long>(split) * strips * EACH];
    }
    put_gradient<P>(at, strip * P::STRIP + column, sum);
}

// --- dX under dropout ----------------------------------------------------------------------------------------

constexpr int DROP_ROWS = 128;
constexpr int DROP_COLUMNS = 64;
constexpr int DROP_DEPTH = 64;
constexpr int DROP_THREADS = 256;
constexpr int DROP_STRIDE = DROP_DEPTH + 8;

// Grid: tiles of columns, tiles of rows. Each part takes a multiple of 16 of the depth, zeros behind it.
__device__ __forceinline__ void input_dropout(
        bf16* dx,
        long long dx_stride,
        const bf16* du,
        long long du_stride,
        const bf16* a,
        long long a_stride,
        const int* rng,
        int tokens,
        int columns,
        const Table& table) {
    __shared__ __align__(16) bf16 du_tile[DROP_ROWS * DROP_STRIDE];
    __shared__ __align__(16) bf16 a_tile[DROP_DEPTH * DROP_STRIDE];
    const int column0 = blockIdx.x * DROP_COLUMNS;
    const int row0 = blockIdx.y * DROP_ROWS;
    int depth = 0;
    for (int p = 0; p < table.parts; p++) {
        const Part& part = table.part[p];
        const int padded = (part.rank + 15) / 16 * 16;
        for (int i = threadIdx.x; i < DROP_ROWS * padded; i += DROP_THREADS) {
            const int row = i / padded;
            const int j = i % padded;
            du_tile[row * DROP_STRIDE + depth + j] = row0 + row < tokens && j < part.rank
                    ? du[static_cast<long long>(row0 + row) * du_stride + part.column + j]
                    : from_float<bf16>(0.f);
        }
        // Sixteen columns as two tiles of eight, so arranged that a lane's results are four neighbours: those
        // that one Philox counter masks. Column 4q + 2h + i goes to place 2q + i of tile h.
        for (int i = threadIdx.x; i < padded * (DROP_COLUMNS / 2); i += DROP_THREADS) {
            const int j = i / (DROP_COLUMNS / 2);
            const int pair = i % (DROP_COLUMNS / 2);
            const int place = pair / 8 * 16 + pair % 2 * 8 + pair % 8 / 2 * 2;
            const bool valid = j < part.rank && column0 + 2 * pair < columns;
            *reinterpret_cast<uint32_t*>(&a_tile[(depth + j) * DROP_STRIDE + place]) = valid
                    ? *reinterpret_cast<const uint32_t*>(
                              &a[static_cast<long long>(part.column + j) * a_stride + column0 + 2 * pair])
                    : 0u;
        }
        depth += padded;
    }
    __syncthreads();

    const int lane = threadIdx.x % WARP;
    const int warp = threadIdx.x / WARP;
    const int matrix = lane / 8;
#pragma unroll 1
    for (int group = 0; group < DROP_COLUMNS / 16; group++) {
        const int column = column0 + group * 16 + lane % 4 * 4;
        // [row g or g + 8][four neighbours]
        float total[2][4] = {};
        int at = 0;
        for (int p = 0; p < table.parts; p++) {
            const Part& part = table.part[p];
            float tiles[2][4] = {};
            for (const int end = at + (part.rank + 15) / 16 * 16; at < end; at += 16) {
                uint32_t rows[4];
                uint32_t values[4];
                ldmatrix_x4(
                        rows,
                        &du_tile[(warp * 16 + matrix % 2 * 8 + lane % 8) * DROP_STRIDE + at + matrix / 2 * 8]);
                ldmatrix_x4_trans(
                        values,
                        &a_tile[(at + matrix % 2 * 8 + lane % 8) * DROP_STRIDE + group * 16 + matrix / 2 * 8]);
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    const uint32_t b[2] = {values[2 * h], values[2 * h + 1]};
                    mma_bf16_m16n8k16(tiles[h], rows, b);
                }
            }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const unsigned long long row = row0 + warp * 16 + half * 8 + lane / 4;
                const PhiloxWords words = dropout_words(rng, (row * columns + column) / 4, part.stream);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float value = tiles[i / 2][half * 2 + i % 2] * part.kept;
                    total[half][i] += words.word[i] >= part.threshold ? value : 0.f;
                }
            }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const long long row = row0 + warp * 16 + half * 8 + lane / 4;
            if (row < tokens && column < columns) {
                uint2* const to = reinterpret_cast<uint2*>(dx + row * dx_stride + column);
                const uint2 was = *to;
                float low, high;
                uint2 sum;
                unpack_bf16(low, high, was.x);
                sum.x = pack_bf16(low + total[half][0], high + total[half][1]);
                unpack_bf16(low, high, was.y);
                sum.y = pack_bf16(low + total[half][2], high + total[half][3]);
                *to = sum;
            }
        }
    }
}

}  // namespace low_rank

#define LOW_RANK_FORWARD(NAME, DROPOUT)                                                                              \
    extern "C" __global__ void __launch_bounds__(low_rank::FORWARD_THREADS, 2) NAME(                                 \
            bf16* u, long long u_stride, float* partial, const bf16* x, long long x_stride, const bf16* a,           \
            long long a_stride, const int* adapter_of_row, const int* rng, int tokens, int depth, int columns,       \
            const __grid_constant__ low_rank::Table table) {                                                        \
        low_rank::forward<DROPOUT>(                                                                                  \
                u, u_stride, partial, x, x_stride, a, a_stride, adapter_of_row, rng, tokens, depth, columns, table); \
    }

LOW_RANK_FORWARD(low_rank_forward_bf16, false)
LOW_RANK_FORWARD(low_rank_forward_dropout_bf16, true)

extern "C" __global__ void low_rank_forward_sum_bf16(
        bf16* u,
        long long u_stride,
        const float* partial,
        const int* adapter_of_row,
        int tokens,
        int columns,
        int splits,
        const __grid_constant__ low_rank::Table table) {
    low_rank::forward_sum(u, u_stride, partial, adapter_of_row, tokens, columns, splits, table);
}

#define LOW_RANK_STREAM(NAME, PASS, DROPOUT, BLOCKS)                                                              \
    extern "C" __global__ void __launch_bounds__(low_rank::PASS::THREADS, BLOCKS) NAME(                           \
            float* du_partial, float* gradient_partial, const bf16* streamed, long long stride, const bf16* side, \
            long long side_stride, const bf16* b, long long b_stride, const int* rng, int tokens, int row_length, \
            const __grid_constant__ low_rank::Table table) {                                                     \
        low_rank::stream<low_rank::PASS, DROPOUT>(                                                                \
                du_partial, gradient_partial, streamed, stride, side, side_stride, b, b_stride, rng, tokens,      \
                row_length, table);                                                                               \
    }

LOW_RANK_STREAM(low_rank_backward_output16_bf16, Output16, false, 2)
LOW_RANK_STREAM(low_rank_backward_output32_bf16, Output32, false, 1)
LOW_RANK_STREAM(low_rank_backward_a32_bf16, A32, false, 2)
LOW_RANK_STREAM(low_rank_backward_a32_dropout_bf16, A32, true, 2)
LOW_RANK_STREAM(low_rank_backward_a64_bf16, A64, false, 2)

#define LOW_RANK_STREAM_SUM(NAME, PASS)                                                                          \
    extern "C" __global__ void NAME(                                                                             \
            bf16* du, long long du_stride, const float* du_partial, const float* gradient_partial,               \
            const int* adapter_of_row, int tokens, int strips, int splits,                                       \
            const __grid_constant__ low_rank::Table table) {                                                    \
        low_rank::stream_sum<low_rank::PASS>(                                                                    \
                du, du_stride, du_partial, gradient_partial, adapter_of_row, tokens, strips, splits, table);     \
    }

LOW_RANK_STREAM_SUM(low_rank_backward_output16_sum_bf16, Output16)
LOW_RANK_STREAM_SUM(low_rank_backward_output32_sum_bf16, Output32)
LOW_RANK_STREAM_SUM(low_rank_backward_a32_sum_bf16, A32)
LOW_RANK_STREAM_SUM(low_rank_backward_a64_sum_bf16, A64)

extern "C" __global__ void __launch_bounds__(low_rank::DROP_THREADS) low_rank_backward_input_dropout_bf16(
        bf16* dx,
        long long dx_stride,
        const bf16* du,
        long long du_stride,
        const bf16* a,
        long long a_stride,
        const int* rng,
        int tokens,
        int columns,
        const __grid_constant__ low_rank::Table table) {
    low_rank::input_dropout(dx, dx_stride, du, du_stride, a, a_stride, rng, tokens, columns, table);
}
