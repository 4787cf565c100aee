// Softmax cross-entropy of rows of logits with smoothed targets, between the products of an output head.
//
// A row t with target y and scale s has, for logits l of V classes and p = softmax(l):
//   loss  = s·(log Σ exp(l) - (1-eps)·l[y] - eps·mean(l))
//   dl[v] = s·(p[v] - (1-eps)·[v = y] - eps/V)
// A row whose target is -100 has no loss and no gradient. A row whose loss is not finite has a gradient of NaN
// throughout, so that the norm of all gradients tells it. Any other target outside the vocabulary, or more rows
// with targets than the caller promised, makes the loss NaN, and the gradient too: for such targets, and for the
// rows that were not computed.
//
// A block takes a row: one pass over the logits finds largest and sum together, a second one, backwards, so
// that what was read last is still in the cache, writes the gradient in the operands' type, in place when
// that is f32. Row losses are added up in f64 by one block: every sum has one order.
#include "common/reduce.cuh"
#include "common/vector.cuh"

namespace linear_cross_entropy {

constexpr int NO_TARGET = -100;
constexpr int MOST_THREADS = 512;
constexpr int COMPACT_THREADS = 1024;

// N logits from `from` on; the columns behind the last one do not count.
template <int N, bool ALIGNED>
__device__ __forceinline__ void load_logits(
        float (&to)[N], const float* row, int from, int cols, float behind) {
    if (ALIGNED && from + N <= cols) {
#pragma unroll
        for (int i = 0; i < N; i += 4) {
            float part[4];
            load_vector<float>(part, row + from + i);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                to[i + j] = part[j];
            }
        }
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) {
            to[i] = from + i < cols ? row[from + i] : behind;
        }
    }
}

template <class T, int N, bool ALIGNED>
__device__ __forceinline__ void store_gradient(T* row, const float (&values)[N], int from, int cols) {
    if (ALIGNED && from + N <= cols) {
        store_vector<T>(row + from, values);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) {
            if (from + i < cols) {
                row[from + i] = from_float<T>(values[i]);
            }
        }
    }
}

struct Softmax {
    float largest;
    float sum; // of exp(logit - largest)
    float logits; // their sum, when asked for
};

template <bool ALIGNED>
__device__ __forceinline__ Softmax softmax(const float* row, int cols, bool smoothed) {
    constexpr int N = 4;
    Softmax own = {-INFINITY, 0.f, 0.f};
    for (int from = threadIdx.x * N; from < cols; from += blockDim.x * N) {
        float l[N];
        load_logits<N, ALIGNED>(l, row, from, cols, -INFINITY);
        const float largest = fmaxf(fmaxf(l[0], l[1]), fmaxf(l[2], l[3]));
        if (largest > own.largest) {
            own.sum *= expf(own.largest - largest);
            own.largest = largest;
        }
#pragma unroll
        for (int i = 0; i < N; i++) {
            own.sum += expf(l[i] - own.largest);
            if (smoothed && from + i < cols) {
                own.logits += l[i];
            }
        }
    }
    Softmax all;
    all.largest = block_max(own.largest);
    // A thread without logits has a sum of 0.
    all.sum = block_sum(own.sum * expf(own.largest - all.largest));
    all.logits = smoothed ? block_sum(own.logits) : 0.f;
    return all;
}

template <class T, bool ALIGNED>
__device__ __forceinline__ void write_gradient(
        T* to,
        const float* row,
        int cols,
        const Softmax& softmax,
        int target,
        float scale,
        float smoothing,
        bool finite) {
    constexpr int N = Vector<T>::WIDTH;
    const float factor = finite ? scale / softmax.sum : NAN;
    const float shared = scale * smoothing / static_cast<float>(cols);
    const int last = (cols - 1) / N;
    for (int part = last - static_cast<int>(threadIdx.x); part >= 0; part -= blockDim.x) {
        const int from = part * N;
        float l[N];
        load_logits<N, ALIGNED>(l, row, from, cols, 0.f);
#pragma unroll
        for (int i = 0; i < N; i++) {
            l[i] = expf(l[i] - softmax.largest) * factor - shared;
            if (from + i == target) {
                l[i] -= scale * (1.f - smoothing);
            }
        }
        store_gradient<T, N, ALIGNED>(to, l, from, cols);
    }
}

// Rows of a chunk. `active` null: row i of the chunk is row first + i of the batch; otherwise it is
// active[first + i], none when that is negative. `gradient` may be null, and may be `logits`.
template <class T, bool ALIGNED>
__device__ __forceinline__ void rows(
        float* losses,
        T* gradient,
        long long gradient_stride,
        const float* logits,
        long long logits_stride,
        int cols,
        const int* targets,
        const float* scales,
        const int* active,
        int first,
        float smoothing) {
    constexpr int N = Vector<T>::WIDTH;
    const int t = active == nullptr ? first + static_cast<int>(blockIdx.x) : active[first + blockIdx.x];
    const int target = t < 0 ? NO_TARGET : targets[t];
    const float* row = logits + blockIdx.x * logits_stride;
    T* to = gradient == nullptr ? nullptr : gradient + blockIdx.x * gradient_stride;
    if (target < 0 || target >= cols) {
        const float value = target == NO_TARGET ? 0.f : NAN;
        if (to != nullptr) {
            float values[N];
#pragma unroll
            for (int i = 0; i < N; i++) {
                values[i] = value;
            }
            for (int from = threadIdx.x * N; from < cols; from += blockDim.x * N) {
                store_gradient<T, N, ALIGNED>(to, values, from, cols);
            }
        }
        if (threadIdx.x == 0 && t >= 0) {
            losses[t] = value;
        }
        return;
    }
    const float scale = scales[t];
    const float wanted = row[target];
    const Softmax all = softmax<ALIGNED>(row, cols, smoothing != 0.f);
    float loss = all.largest - wanted;
    if (smoothing != 0.f) {
        const float mean = all.logits / static_cast<float>(cols);
        loss = (1.f - smoothing) * loss + smoothing * (all.largest - mean);
    }
    loss += logf(all.sum);
    if (threadIdx.x == 0) {
        losses[t] = scale * loss;
    }
    if (to != nullptr) {
        write_gradient<T, ALIGNED>(to, row, cols, all, target, scale, smoothing, isfinite(loss));
    }
}

// active[0..most): the rows that have a target, in order, then -1; count[0]: how many there are. One block.
__device__ __forceinline__ void compact(int* active, int* count, const int* targets, int tokens, int most) {
    __shared__ int warps[WARP];
    const int lane = threadIdx.x % WARP;
    const int each = (tokens + COMPACT_THREADS - 1) / COMPACT_THREADS;
    const int from = min(tokens, static_cast<int>(threadIdx.x) * each);
    const int end = min(tokens, from + each);
    int own = 0;
    for (int t = from; t < end; t++) {
        own += targets[t] != NO_TARGET;
    }
    int sum = own;
#pragma unroll
    for (int offset = 1; offset < WARP; offset *= 2) {
        const int before = __shfl_up_sync(FULL_WARP, sum, offset);
        sum += lane >= offset ? before : 0;
    }
    if (lane == WARP - 1) {
        warps[threadIdx.x / WARP] = sum;
    }
    __syncthreads();
    int at = sum - own;
    int total = 0;
    for (int w = 0; w < COMPACT_THREADS / WARP; w++) {
        at += w < static_cast<int>(threadIdx.x) / WARP ? warps[w] : 0;
        total += warps[w];
    }
    for (int t = from; t < end; t++) {
        if (targets[t] != NO_TARGET) {
            if (at < most) {
                active[at] = t;
            }
            at++;
        }
    }
    for (int i = total + static_cast<int>(threadIdx.x); i < most; i += COMPACT_THREADS) {
        active[i] = -1;
    }
    if (threadIdx.x == 0) {
        count[0] = total;
    }
}

// A block copies one row of N elements at a time, or `otherwise` when `from` is null.
template <class T, int N>
__device__ __forceinline__ void copy_row(T* to, const T* from, long long cols, float otherwise = 0.f) {
    for (long long i = threadIdx.x * N; i < cols; i += blockDim.x * N) {
        float values[N];
        if (from == nullptr) {
#pragma unroll
            for (int j = 0; j < N; j++) {
                values[j] = otherwise;
            }
        } else {
            load<N>(values, from + i);
        }
        store<N>(to + i, values);
    }
}

}  // namespace linear_cross_entropy

#define ROWS_ENTRY(suffix, T, ALIGNED)                                                                       \
    extern "C" __global__ void __launch_bounds__(linear_cross_entropy::MOST_THREADS, 3)                      \
            linear_cross_entropy_rows_##suffix(                                                              \
                    float* losses,                                                                           \
                    T* gradient,                                                                             \
                    long long gradient_stride,                                                               \
                    const float* logits,                                                                     \
                    long long logits_stride,                                                                 \
                    int cols,                                                                                \
                    const int* targets,                                                                      \
                    const float* scales,                                                                     \
                    const int* active,                                                                       \
                    int first,                                                                               \
                    float smoothing) {                                                                       \
        linear_cross_entropy::rows<T, ALIGNED>(                                                              \
                losses,                                                                                      \
                gradient,                                                                                    \
                gradient_stride,                                                                             \
                logits,                                                                                      \
                logits_stride,                                                                               \
                cols,                                                                                        \
                targets,                                                                                     \
                scales,                                                                                      \
                active,                                                                                      \
                first,                                                                                       \
                smoothing);                                                                                  \
    }

// to[i] = from[active[first + i]], zeros where there is none; scatter the other way round, and clear zeroes
// the rows of `to` that have no target. Rows that have one become NaN when there are more of them than will be
// scattered.
#define MOVE_ENTRIES(suffix, T, N)                                                                           \
    extern "C" __global__ void linear_cross_entropy_gather_##suffix(                                         \
            T* to,                                                                                           \
            long long to_stride,                                                                             \
            const T* from,                                                                                   \
            long long from_stride,                                                                           \
            long long cols,                                                                                  \
            const int* active,                                                                               \
            int first) {                                                                                     \
        const int t = active[first + blockIdx.x];                                                            \
        linear_cross_entropy::copy_row<T, N>(                                                                \
                to + blockIdx.x * to_stride, t < 0 ? nullptr : from + t * from_stride, cols);                \
    }                                                                                                        \
    extern "C" __global__ void linear_cross_entropy_scatter_##suffix(                                        \
            T* to,                                                                                           \
            long long to_stride,                                                                             \
            const T* from,                                                                                   \
            long long from_stride,                                                                           \
            long long cols,                                                                                  \
            const int* active,                                                                               \
            int first) {                                                                                     \
        const int t = active[first + blockIdx.x];                                                            \
        if (t >= 0) {                                                                                        \
            linear_cross_entropy::copy_row<T, N>(                                                            \
                    to + t * to_stride, from + blockIdx.x * from_stride, cols);                              \
        }                                                                                                    \
    }                                                                                                        \
    extern "C" __global__ void linear_cross_entropy_clear_##suffix(                                          \
            T* to,                                                                                           \
            long long to_stride,                                                                             \
            long long cols,                                                                                  \
            const int* targets,                                                                              \
            const int* count,                                                                                \
            int most) {                                                                                      \
        const bool target = targets[blockIdx.x] != linear_cross_entropy::NO_TARGET;                          \
        if (!target || count[0] > most) {                                                                    \
            linear_cross_entropy::copy_row<T, N>(                                                            \
                    to + blockIdx.x * to_stride, nullptr, cols, target ? NAN : 0.f);                         \
        }                                                                                                    \
    }

ROWS_ENTRY(f32, float, true)
ROWS_ENTRY(f32_scalar, float, false)
ROWS_ENTRY(bf16, bf16, true)
ROWS_ENTRY(bf16_scalar, bf16, false)
MOVE_ENTRIES(f32, float, 4)
MOVE_ENTRIES(f32_scalar, float, 1)
MOVE_ENTRIES(bf16, bf16, 8)
MOVE_ENTRIES(bf16_scalar, bf16, 1)

extern "C" __global__ void __launch_bounds__(linear_cross_entropy::COMPACT_THREADS)
        linear_cross_entropy_compact(
                int* active, int* count, const int* targets, int tokens, int most) {
    linear_cross_entropy::compact(active, count, targets, tokens, most);
}

// loss[0] = the sum of the losses of all rows that have a target. One block of 256 threads.
extern "C" __global__ void __launch_bounds__(256) linear_cross_entropy_sum(
        float* loss, const float* losses, const int* targets, int tokens, const int* count, int most) {
    __shared__ double parts[256];
    double sum = 0;
    for (int t = threadIdx.x; t < tokens; t += 256) {
        if (targets[t] != linear_cross_entropy::NO_TARGET) {
            sum += losses[t];
        }
    }
    parts[threadIdx.x] = sum;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            parts[threadIdx.x] += parts[threadIdx.x + half];
        }
    }
    if (threadIdx.x == 0) {
        const bool promised = count == nullptr || count[0] <= most;
        loss[0] = promised ? static_cast<float>(parts[0]) : NAN;
    }
}
