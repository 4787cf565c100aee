// Causal softmax attention over packed sequences with tensor cores (arXiv 2205.14135, 2307.08691), for bf16
// rows of 16-byte chunks; attention_simple.cu has every other case. All outputs are written with =.
//
//   S = scale·QKᵀ, P = softmax(S), O = PV;  P is never stored, lse = log Σ exp S per row is.
//   δ = Σ dO∘O per row, dP = dO·Vᵀ, dS = P∘(dP − δ);  dQ = scale·dS·K, dK = scale·dSᵀ·Q, dV = Pᵀ·dO
//
// Forward: a block has 64 or 128 queries of one head and walks over tiles of keys, from its diagonal down.
// Backward: query_gradient does the same for dQ and leaves lse and δ as kernels below want them; key_gradient
// has a block per 64 or 128 keys of one key head, which walks over all queries that see them, head after head
// of the group: every sum has one owner and one order, without atomics. That costs 7 products where 5 would do
// (S and dP twice), and saves the f32 dQ that atomics need.
//
// qkv: [T, (heads + 2·kv_heads)·head_dim], rows [q | k | v]. D is the head size that a kernel is made for;
// smaller ones are padded with zeros in shared memory only.

#include "common/exponentials.cuh"
#include "common/sequences.cuh"
#include "common/tiles.cuh"

namespace attention {

using tiles::LANES;

constexpr int WARPS = 4;
constexpr int THREADS = WARPS * LANES;

// M: tiles of 16 rows per warp; N: rows of the other operand's tile. What a warp loads from shared memory for
// a product falls with M, what it keeps in registers rises. Java's AttentionTiles has the same numbers.
template <int D>
struct Shape;

template <>
struct Shape<64> {
    static constexpr int FORWARD_M = 2, FORWARD_N = 64;
    static constexpr int QUERY_M = 2, QUERY_N = 32;
    static constexpr int KEY_M = 2, KEY_N = 32;
    static constexpr bool HELD = true;
};

template <>
struct Shape<96> {
    static constexpr int FORWARD_M = 2, FORWARD_N = 64;
    static constexpr int QUERY_M = 1, QUERY_N = 32;
    static constexpr int KEY_M = 1, KEY_N = 32;
    static constexpr bool HELD = true;
};

template <>
struct Shape<128> {
    static constexpr int FORWARD_M = 2, FORWARD_N = 64;
    static constexpr int QUERY_M = 1, QUERY_N = 32;
    static constexpr int KEY_M = 1, KEY_N = 32;
    static constexpr bool HELD = true;
};

template <>
struct Shape<256> {
    static constexpr int FORWARD_M = 1, FORWARD_N = 64;
    static constexpr int QUERY_M = 1, QUERY_N = 16;
    static constexpr int KEY_M = 1, KEY_N = 16;
    static constexpr bool HELD = false;
};

// One layer's inputs.
struct Layer {
    const bf16* qkv;
    long long stride;
    const int* cu_seqlens;
    const int* key_mask;
    int sequences;
    int tokens;
    int heads;
    int kv_heads;
    int head_dim;
    float scale;
    // Positions that a query sees; more than there are when there is no window.
    int window;

    __device__ __forceinline__ int group() const {
        return heads / kv_heads;
    }
    __device__ __forceinline__ int chunks() const {
        return head_dim / tiles::CHUNK;
    }
    __device__ __forceinline__ long long query_col(int head) const {
        return static_cast<long long>(head) * head_dim;
    }
    __device__ __forceinline__ long long key_col(int kv_head) const {
        return static_cast<long long>(heads + kv_head) * head_dim;
    }
    __device__ __forceinline__ long long value_col(int kv_head) const {
        return static_cast<long long>(heads + kv_heads + kv_head) * head_dim;
    }
    __device__ __forceinline__ bool sees(int query, int key) const {
        return static_cast<unsigned>(query - key) < static_cast<unsigned>(window);
    }
};

#define ATTENTION_LAYER                                                                                       \
    const bf16 *qkv, long long qkv_stride, const int *cu_seqlens, const int *key_mask, int sequences,         \
            int tokens, int heads, int kv_heads, int head_dim, float scale, int window
#define ATTENTION_LAYER_OF                                                                                    \
    attention::Layer {                                                                                        \
        qkv, qkv_stride, cu_seqlens, key_mask, sequences, tokens, heads, kv_heads, head_dim, scale, window    \
    }

// Which of the keys [first_key, first_key + keys) the queries [first_query, first_query + queries) see.
enum Sight { NOTHING, SOME, ALL };

__device__ __forceinline__ Sight sight(
        const Layer& layer, int first_query, int queries, int first_key, int keys) {
    const int last_query = first_query + queries - 1;
    const int last_key = first_key + keys - 1;
    if (last_query < first_key || first_query - last_key >= layer.window) {
        return NOTHING;
    }
    return last_key <= first_query && last_query - first_key < layer.window ? ALL : SOME;
}

// Hides scores of keys that a query does not see: rows are queries.
template <int M, int N>
__device__ __forceinline__ void hide(
        float (&scores)[M][N][4], const Layer& layer, const sequences::Span& span, int query, int key) {
    const int lane = threadIdx.x % LANES;
    const int* const mask = layer.key_mask == nullptr ? nullptr : layer.key_mask + span.start;
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const int u = key + 8 * n + lane % 4 * 2 + j;
            const bool shown = mask == nullptr || (u < span.length && mask[u] != 0);
#pragma unroll
            for (int m = 0; m < M; m++) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const int t = query + 16 * m + 8 * half + lane / 4;
                    if (!shown || !layer.sees(t, u)) {
                        scores[m][n][2 * half + j] = -INFINITY;
                    }
                }
            }
        }
    }
}

// The sum, or the maximum, over the four lanes that share a row.
__device__ __forceinline__ float quad_sum(float value) {
    value += __shfl_xor_sync(0xffffffffu, value, 1);
    return value + __shfl_xor_sync(0xffffffffu, value, 2);
}

__device__ __forceinline__ float quad_max(float value) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 1));
    return fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 2));
}

// Rows behind the last sequence.
__device__ __forceinline__ void clear_rows(bf16* to, long long stride, int rows, int chunks) {
    for (int i = threadIdx.x; i < rows * chunks; i += THREADS) {
        *reinterpret_cast<uint4*>(to + i / chunks * stride + i % chunks * tiles::CHUNK) =
                make_uint4(0, 0, 0, 0);
    }
}

// Turns scores into exp(scale·(score − maximum)), with the maximum and all that was summed under an older one
// brought up to date.
template <int M, int N, int COLS>
__device__ __forceinline__ void softmax(
        float (&scores)[M][N][4],
        float (&maximum)[M][2],
        float (&total)[M][2],
        float (&sums)[M][COLS][4],
        float scale_log2) {
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float largest = maximum[m][half];
#pragma unroll
            for (int n = 0; n < N; n++) {
                largest = fmaxf(largest, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
            }
            largest = quad_max(largest);
            // A row that has seen nothing yet: exp(−∞ − 0) and not exp(−∞ + ∞).
            const float base = largest == -INFINITY ? 0.f : largest * scale_log2;
            const float correction = exp2_fast(fmaf(maximum[m][half], scale_log2, -base));
            float sum = 0.f;
#pragma unroll
            for (int n = 0; n < N; n++) {
#pragma unroll
                for (int j = 2 * half; j < 2 * half + 2; j++) {
                    scores[m][n][j] = exp2_fast(fmaf(scores[m][n][j], scale_log2, -base));
                    sum += scores[m][n][j];
                }
            }
            total[m][half] = total[m][half] * correction + sum;
            maximum[m][half] = largest;
#pragma unroll
            for (int n = 0; n < COLS; n++) {
                sums[m][n][2 * half] *= correction;
                sums[m][n][2 * half + 1] *= correction;
            }
        }
    }
}

template <int D>
__device__ __forceinline__ void forward(
        bf16* out, long long out_stride, float* lse, long long lse_stride, const Layer& layer) {
    constexpr int M = Shape<D>::FORWARD_M;
    constexpr int KEYS = Shape<D>::FORWARD_N;
    constexpr int QUERIES = WARPS * 16 * M;
    DYNAMIC_SHARED(bf16, shared);
    bf16* const query_tile = shared;
    bf16* const key_tile = query_tile + QUERIES * D;
    bf16* const value_tile = key_tile + KEYS * D;

    const int head = blockIdx.x;
    const int kv_head = head / layer.group();
    const int chunks = layer.chunks();
    sequences::Span span;
    // Late tiles see the most keys: they begin first.
    const int tile = gridDim.y - 1 - blockIdx.y;
    if (!sequences::find_tile(span, layer.cu_seqlens, layer.sequences, layer.tokens, tile, QUERIES)) {
        return;
    }
    const int rows = min(QUERIES, span.length - span.first);
    const long long row = span.start + span.first;
    out += row * out_stride + layer.query_col(head);
    lse += row * lse_stride + head;
    if (span.index == layer.sequences) {
        clear_rows(out, out_stride, rows, chunks);
        if (threadIdx.x < rows) {
            lse[threadIdx.x * lse_stride] = -INFINITY;
        }
        return;
    }

    const bf16* const keys = layer.qkv + span.start * layer.stride + layer.key_col(kv_head);
    const bf16* const values = layer.qkv + span.start * layer.stride + layer.value_col(kv_head);
    const int last = (span.first + rows - 1) / KEYS;
    const int lowest = max(0, span.first - layer.window + 1) / KEYS;
    tiles::load<D, QUERIES, THREADS>(
            query_tile, layer.qkv + row * layer.stride + layer.query_col(head), layer.stride, rows, chunks);
    const auto load_tile = [&](bf16* to, const bf16* from, int n) {
        tiles::load<D, KEYS, THREADS>(
                to, from + static_cast<long long>(n) * KEYS * layer.stride, layer.stride,
                span.length - n * KEYS, chunks);
        cp_async_commit();
    };
    load_tile(key_tile, keys, last);

    const int lane = threadIdx.x % LANES;
    const int warp_row = threadIdx.x / LANES * 16 * M;
    const int query = span.first + warp_row;
    const float scale_log2 = layer.scale * LOG2_E;
    const tiles::Left<D, M, false> left(query_tile, warp_row);
    float sums[M][D / 8][4];
    float maximum[M][2];
    float total[M][2];
    tiles::clear(sums);
#pragma unroll
    for (int m = 0; m < M; m++) {
        maximum[m][0] = maximum[m][1] = -INFINITY;
        total[m][0] = total[m][1] = 0.f;
    }
    for (int n = last; n >= lowest; n--) {
        const int key = n * KEYS;
        const Sight seen = sight(layer, query, 16 * M, key, KEYS);
        float scores[M][KEYS / 8][4];
        cp_async_wait<0>();
        __syncthreads();
        // All keys of this tile have come and all values of the one before are used.
        load_tile(value_tile, values, n);
        if (seen != NOTHING) {
            tiles::product_transposed(scores, left, key_tile);
        }
        cp_async_wait<0>();
        __syncthreads();
        if (n > lowest) {
            load_tile(key_tile, keys, n - 1);
        }
        if (seen != NOTHING) {
            if (seen == SOME || layer.key_mask != nullptr) {
                hide(scores, layer, span, query, key);
            }
            softmax(scores, maximum, total, sums, scale_log2);
            tiles::product<D>(sums, scores, value_tile);
        }
    }

    float inverse[M][2];
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float sum = quad_sum(total[m][half]);
            inverse[m][half] = sum == 0.f ? 0.f : 1.f / sum;
            const int r = warp_row + 16 * m + 8 * half + lane / 4;
            if (lane % 4 == 0 && r < rows) {
                lse[r * lse_stride] =
                        sum == 0.f ? -INFINITY : fmaf(maximum[m][half], layer.scale, logf(sum));
            }
        }
    }
    tiles::store<D, M>(
            out + warp_row * out_stride, out_stride, rows - warp_row, chunks, query_tile, warp_row, sums, inverse);
}

// What backward keeps per row and head: (lse·log2 e, or ∞ where nothing is seen; δ). Row p of sequence i is at
// statistics_row + p: an even number, so that pairs of rows are 16-byte chunks.
__device__ __forceinline__ long long statistics_row(const sequences::Span& span) {
    return (span.start + span.index + 1) & ~1;
}

__device__ __forceinline__ long long statistics_stride(const Layer& layer) {
    return (layer.tokens + layer.sequences + 2) & ~1;
}

// P in place of the scores; 0 for what is hidden, which is −∞ here.
template <int M, int N>
__device__ __forceinline__ void probabilities(
        float (&scores)[M][N][4], const float (&lse)[M][2], float scale_log2) {
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                scores[m][n][i] = exp2_fast(fmaf(scores[m][n][i], scale_log2, -lse[m][i / 2]));
            }
        }
    }
}

// Heads from first_head on, as many as the grid is wide.
template <int D>
__device__ __forceinline__ void query_gradient(
        bf16* d_qkv,
        long long d_qkv_stride,
        float2* statistics,
        const bf16* d_out,
        long long d_out_stride,
        const bf16* out,
        long long out_stride,
        const float* lse,
        long long lse_stride,
        int first_head,
        const Layer& layer) {
    constexpr int M = Shape<D>::QUERY_M;
    constexpr int KEYS = Shape<D>::QUERY_N;
    constexpr bool HELD = Shape<D>::HELD;
    constexpr int QUERIES = WARPS * 16 * M;
    DYNAMIC_SHARED(bf16, shared);
    bf16* const query_tile = shared;
    bf16* const d_out_tile = query_tile + QUERIES * D;
    // Two buffers of keys and values, where queries and dO were if those are held in registers.
    bf16* const buffers = HELD ? shared : d_out_tile + QUERIES * D;

    const int head = first_head + blockIdx.x;
    const int kv_head = head / layer.group();
    const int chunks = layer.chunks();
    sequences::Span span;
    const int tile = gridDim.y - 1 - blockIdx.y;
    if (!sequences::find_tile(span, layer.cu_seqlens, layer.sequences, layer.tokens, tile, QUERIES)) {
        return;
    }
    const int rows = min(QUERIES, span.length - span.first);
    const long long row = span.start + span.first;
    d_qkv += row * d_qkv_stride + layer.query_col(head);
    if (span.index == layer.sequences) {
        clear_rows(d_qkv, d_qkv_stride, rows, chunks);
        return;
    }
    d_out += row * d_out_stride + layer.query_col(head);
    out += row * out_stride + layer.query_col(head);
    lse += row * lse_stride + head;
    statistics += blockIdx.x * statistics_stride(layer) + statistics_row(span) + span.first;

    tiles::load<D, QUERIES, THREADS>(
            query_tile, layer.qkv + row * layer.stride + layer.query_col(head), layer.stride, rows, chunks);
    tiles::load<D, QUERIES, THREADS>(d_out_tile, d_out, d_out_stride, rows, chunks);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();

    const int lane = threadIdx.x % LANES;
    const int warp_row = threadIdx.x / LANES * 16 * M;
    const int query = span.first + warp_row;
    tiles::Left<D, M, HELD> left(query_tile, warp_row);
    tiles::Left<D, M, HELD> d_left(d_out_tile, warp_row);
    left.hold();
    d_left.hold();
    float row_lse[M][2];
    float delta[M][2];
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int r = warp_row + 16 * m + 8 * half + lane / 4;
            float sum = 0.f;
            float value = -INFINITY;
            if (r < rows) {
                for (int chunk = lane % 4; chunk < chunks; chunk += 4) {
                    float a[8], b[8];
                    load_vector<bf16>(a, d_out_tile + tiles::at<D>(r, chunk));
                    load_vector<bf16>(b, out + r * out_stride + chunk * tiles::CHUNK);
#pragma unroll
                    for (int i = 0; i < 8; i++) {
                        sum = fmaf(a[i], b[i], sum);
                    }
                }
                value = lse[r * lse_stride];
            }
            delta[m][half] = quad_sum(sum);
            row_lse[m][half] = value == -INFINITY ? INFINITY : value * LOG2_E;
            if (r < rows && lane % 4 == 0) {
                statistics[r] = make_float2(row_lse[m][half], delta[m][half]);
            }
        }
    }
    __syncthreads();

    const bf16* const keys = layer.qkv + span.start * layer.stride + layer.key_col(kv_head);
    const bf16* const values = layer.qkv + span.start * layer.stride + layer.value_col(kv_head);
    const int last = (span.first + rows - 1) / KEYS;
    const int lowest = max(0, span.first - layer.window + 1) / KEYS;
    const auto load_tiles = [&](int n) {
        bf16* const to = buffers + n % 2 * 2 * KEYS * D;
        const long long offset = static_cast<long long>(n) * KEYS * layer.stride;
        tiles::load<D, KEYS, THREADS>(to, keys + offset, layer.stride, span.length - n * KEYS, chunks);
        tiles::load<D, KEYS, THREADS>(
                to + KEYS * D, values + offset, layer.stride, span.length - n * KEYS, chunks);
        cp_async_commit();
    };
    load_tiles(last);
    const float scale_log2 = layer.scale * LOG2_E;
    float sums[M][D / 8][4];
    tiles::clear(sums);
    for (int n = last; n >= lowest; n--) {
        const int key = n * KEYS;
        const Sight seen = sight(layer, query, 16 * M, key, KEYS);
        cp_async_wait<0>();
        __syncthreads();
        if (n > lowest) {
            load_tiles(n - 1);
        }
        if (seen != NOTHING) {
            const bf16* const key_tile = buffers + n % 2 * 2 * KEYS * D;
            float scores[M][KEYS / 8][4];
            tiles::product_transposed(scores, left, key_tile);
            if (seen == SOME || layer.key_mask != nullptr) {
                hide(scores, layer, span, query, key);
            }
            probabilities(scores, row_lse, scale_log2);
            float d_scores[M][KEYS / 8][4];
            tiles::product_transposed(d_scores, d_left, key_tile + KEYS * D);
#pragma unroll
            for (int m = 0; m < M; m++) {
#pragma unroll
                for (int j = 0; j < KEYS / 8; j++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        d_scores[m][j][i] = scores[m][j][i] * (d_scores[m][j][i] - delta[m][i / 2]);
                    }
                }
            }
            tiles::product<D>(sums, d_scores, key_tile);
        }
    }
    // The rows of the tile that the result goes through may still be keys to others.
    __syncthreads();
    float factor[M][2];
#pragma unroll
    for (int m = 0; m < M; m++) {
        factor[m][0] = factor[m][1] = layer.scale;
    }
    tiles::store<D, M>(
            d_qkv + warp_row * d_qkv_stride, d_qkv_stride, rows - warp_row, chunks, query_tile, warp_row, sums,
            factor);
}

// Key heads from first_kv_head on, as many as the grid is wide; statistics begin with the first one's first
// query head. Either gradient may be left to another launch, where both do not fit into the registers.
template <int D, bool KEY, bool VALUE>
__device__ __forceinline__ void key_gradient(
        bf16* d_qkv,
        long long d_qkv_stride,
        const float2* statistics,
        const bf16* d_out,
        long long d_out_stride,
        int first_kv_head,
        const Layer& layer) {
    constexpr int M = Shape<D>::KEY_M;
    constexpr int QUERIES = Shape<D>::KEY_N;
    constexpr int KEYS = WARPS * 16 * M;
    DYNAMIC_SHARED(bf16, shared);
    bf16* const key_tile = shared;
    bf16* const value_tile = key_tile + KEYS * D;
    bf16* const buffers = value_tile + KEYS * D;
    float2* const statistics_buffers = reinterpret_cast<float2*>(buffers + 4 * QUERIES * D);

    const int kv_head = first_kv_head + blockIdx.x;
    const int chunks = layer.chunks();
    sequences::Span span;
    // Early keys are seen by the most queries: they begin first.
    if (!sequences::find_tile(
                span, layer.cu_seqlens, layer.sequences, layer.tokens, blockIdx.y, KEYS)) {
        return;
    }
    const int rows = min(KEYS, span.length - span.first);
    const long long row = span.start + span.first;
    bf16* const d_keys = d_qkv + row * d_qkv_stride + layer.key_col(kv_head);
    bf16* const d_values = d_qkv + row * d_qkv_stride + layer.value_col(kv_head);
    if (span.index == layer.sequences) {
        if constexpr (KEY) {
            clear_rows(d_keys, d_qkv_stride, rows, chunks);
        }
        if constexpr (VALUE) {
            clear_rows(d_values, d_qkv_stride, rows, chunks);
        }
        return;
    }
    const bf16* const qkv = layer.qkv + row * layer.stride;
    tiles::load<D, KEYS, THREADS>(key_tile, qkv + layer.key_col(kv_head), layer.stride, rows, chunks);
    tiles::load<D, KEYS, THREADS>(value_tile, qkv + layer.value_col(kv_head), layer.stride, rows, chunks);

    // Steps: query tiles of one head, then of the next.
    const int first_tile = span.first / QUERIES;
    const int end = static_cast<int>(
            min(static_cast<long long>(span.length), static_cast<long long>(span.first) + KEYS - 1 + layer.window));
    const int tiles_per_head = (end - 1) / QUERIES + 1 - first_tile;
    const int steps = tiles_per_head * layer.group();
    const auto load_tiles = [&](int step) {
        const int in_group = step / tiles_per_head;
        const int query = (first_tile + step % tiles_per_head) * QUERIES;
        const long long col = layer.query_col(kv_head * layer.group() + in_group);
        const long long from = span.start + query;
        const int there = span.length - query;
        bf16* const to = buffers + step % 2 * 2 * QUERIES * D;
        tiles::load<D, QUERIES, THREADS>(
                to, layer.qkv + from * layer.stride + col, layer.stride, there, chunks);
        tiles::load<D, QUERIES, THREADS>(
                to + QUERIES * D, d_out + from * d_out_stride + col, d_out_stride, there, chunks);
        if (threadIdx.x < QUERIES / 2) {
            const int pair = 2 * threadIdx.x;
            const float2* const of_head =
                    statistics + (blockIdx.x * layer.group() + in_group) * statistics_stride(layer);
            const bool valid = pair < there;
            cp_async_16(
                    statistics_buffers + step % 2 * QUERIES + pair,
                    of_head + (valid ? statistics_row(span) + query + pair : 0),
                    valid);
        }
        cp_async_commit();
    };
    load_tiles(0);

    const int lane = threadIdx.x % LANES;
    const int warp_row = threadIdx.x / LANES * 16 * M;
    const int key = span.first + warp_row;
    const float scale_log2 = layer.scale * LOG2_E;
    const tiles::Left<D, M, false> left_keys(key_tile, warp_row);
    const tiles::Left<D, M, false> left_values(value_tile, warp_row);
    bool shown[M][2];
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int u = key + 16 * m + 8 * half + lane / 4;
            shown[m][half] =
                    layer.key_mask == nullptr || (u < span.length && layer.key_mask[span.start + u] != 0);
        }
    }
    float key_sums[KEY ? M : 1][D / 8][4];
    float value_sums[VALUE ? M : 1][D / 8][4];
    tiles::clear(key_sums);
    tiles::clear(value_sums);
    for (int step = 0; step < steps; step++) {
        const int query = (first_tile + step % tiles_per_head) * QUERIES;
        Sight seen = sight(layer, query, QUERIES, key, 16 * M);
        // Statistics end with the sequence.
        seen = seen == ALL && query + QUERIES > span.length ? SOME : seen;
        cp_async_wait<0>();
        __syncthreads();
        if (step + 1 < steps) {
            load_tiles(step + 1);
        }
        if (seen == NOTHING) {
            continue;
        }
        const bf16* const query_tile = buffers + step % 2 * 2 * QUERIES * D;
        const bf16* const d_out_tile = query_tile + QUERIES * D;
        const float2* const of_tile = statistics_buffers + step % 2 * QUERIES;
        // Transposed: rows are keys, columns queries, so that P and dS are left operands as they are.
        float scores[M][QUERIES / 8][4];
        tiles::product_transposed(scores, left_keys, query_tile);
        float delta[QUERIES / 8][2];
#pragma unroll
        for (int n = 0; n < QUERIES / 8; n++) {
#pragma unroll
            for (int j = 0; j < 2; j++) {
                const float2 pair = of_tile[8 * n + lane % 4 * 2 + j];
                const int t = query + 8 * n + lane % 4 * 2 + j;
                delta[n][j] = pair.y;
#pragma unroll
                for (int m = 0; m < M; m++) {
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        float& score = scores[m][n][2 * half + j];
                        const int u = key + 16 * m + 8 * half + lane / 4;
                        const bool hidden =
                                !shown[m][half] || (seen == SOME && (t >= span.length || !layer.sees(t, u)));
                        score = hidden ? 0.f : exp2_fast(fmaf(score, scale_log2, -pair.x));
                    }
                }
            }
        }
        if constexpr (VALUE) {
            tiles::product<D>(value_sums, scores, d_out_tile);
        }
        if constexpr (KEY) {
            float d_scores[M][QUERIES / 8][4];
            tiles::product_transposed(d_scores, left_values, d_out_tile);
#pragma unroll
            for (int m = 0; m < M; m++) {
#pragma unroll
                for (int n = 0; n < QUERIES / 8; n++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        // Not a product with 0: behind the sequence δ may be anything.
                        d_scores[m][n][i] =
                                scores[m][n][i] == 0.f ? 0.f
                                                       : scores[m][n][i] * (d_scores[m][n][i] - delta[n][i % 2]);
                    }
                }
            }
            tiles::product<D>(key_sums, d_scores, query_tile);
        }
    }
    float factor[M][2];
    if constexpr (KEY) {
#pragma unroll
        for (int m = 0; m < M; m++) {
            factor[m][0] = factor[m][1] = layer.scale;
        }
        tiles::store<D, M>(
                d_keys + warp_row * d_qkv_stride, d_qkv_stride, rows - warp_row, chunks, key_tile, warp_row,
                key_sums, factor);
    }
    if constexpr (VALUE) {
#pragma unroll
        for (int m = 0; m < M; m++) {
            factor[m][0] = factor[m][1] = 1.f;
        }
        tiles::store<D, M>(
                d_values + warp_row * d_qkv_stride, d_qkv_stride, rows - warp_row, chunks, value_tile, warp_row,
                value_sums, factor);
    }
}

}  // namespace attention

#define ATTENTION_BOUNDS __launch_bounds__(attention::THREADS, 2)

#define ATTENTION_KEY_GRADIENT(NAME, D, KEY, VALUE)                                                           \
    extern "C" __global__ void ATTENTION_BOUNDS NAME(                                                         \
            bf16* d_qkv, long long d_qkv_stride, const float2* statistics, const bf16* d_out,                 \
            long long d_out_stride, int first_kv_head, ATTENTION_LAYER) {                                     \
        attention::key_gradient<D, KEY, VALUE>(                                                               \
                d_qkv, d_qkv_stride, statistics, d_out, d_out_stride, first_kv_head, ATTENTION_LAYER_OF);     \
    }

#define ATTENTION_KERNELS(D)                                                                                  \
    extern "C" __global__ void ATTENTION_BOUNDS attention_forward_d##D##_bf16(                                \
            bf16* out, long long out_stride, float* lse, long long lse_stride, ATTENTION_LAYER) {             \
        attention::forward<D>(out, out_stride, lse, lse_stride, ATTENTION_LAYER_OF);                          \
    }                                                                                                         \
    extern "C" __global__ void ATTENTION_BOUNDS attention_query_gradient_d##D##_bf16(                         \
            bf16* d_qkv, long long d_qkv_stride, float2* statistics, const bf16* d_out,                       \
            long long d_out_stride, const bf16* out, long long out_stride, const float* lse,                  \
            long long lse_stride, int first_head, ATTENTION_LAYER) {                                          \
        attention::query_gradient<D>(                                                                         \
                d_qkv, d_qkv_stride, statistics, d_out, d_out_stride, out, out_stride, lse, lse_stride,       \
                first_head, ATTENTION_LAYER_OF);                                                              \
    }

ATTENTION_KERNELS(64)
ATTENTION_KERNELS(96)
ATTENTION_KERNELS(128)
ATTENTION_KERNELS(256)

ATTENTION_KEY_GRADIENT(attention_key_gradient_d64_bf16, 64, true, true)
ATTENTION_KEY_GRADIENT(attention_key_gradient_d96_bf16, 96, true, true)
ATTENTION_KEY_GRADIENT(attention_key_gradient_d128_bf16, 128, true, true)
// dK and dV of 256 columns do not fit into the registers together.
ATTENTION_KEY_GRADIENT(attention_key_gradient_d256_bf16, 256, true, false)
ATTENTION_KEY_GRADIENT(attention_value_gradient_d256_bf16, 256, false, true)
