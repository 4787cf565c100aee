// Kernels that show what the emulator does; not shipped, and run by its own test alone.

#include "common/mma.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"

namespace selftest {

template <class T>
__device__ void row_sum(float* out, const T* x, int cols) {
    float sum = 0.f;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) {
        sum += to_float(x[static_cast<long long>(blockIdx.x) * cols + i]);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        out[blockIdx.x] = sum;
    }
}

}  // namespace selftest

#define SELFTEST_ROW_SUM(suffix, T)                                                                      \
    extern "C" __global__ void __launch_bounds__(256) selftest_row_sum_##suffix(float* out, const T* x, int cols) { \
        selftest::row_sum<T>(out, x, cols);                                                              \
    }
SELFTEST_ROW_SUM(f32, float)
SELFTEST_ROW_SUM(bf16, bf16)

// Every shuffle, ballot and vote of one warp.
extern "C" __global__ void selftest_warp(int* out) {
    const int lane = threadIdx.x;
    int* const row = out + lane * 8;
    row[0] = __shfl_xor_sync(FULL_WARP, lane, 5);
    row[1] = __shfl_down_sync(FULL_WARP, lane, 3, 8);
    row[2] = __shfl_up_sync(FULL_WARP, lane, 2);
    row[3] = __shfl_sync(FULL_WARP, lane, lane + 1);
    row[4] = static_cast<int>(__ballot_sync(FULL_WARP, lane % 3 == 0));
    row[5] = __any_sync(FULL_WARP, lane == 31) + 2 * __all_sync(FULL_WARP, lane < 31);
    // Two halves, each in a branch of its own.
    if (lane < 16) {
        row[6] = __shfl_sync(0x0000ffffu, lane * 10, 3);
    } else {
        row[6] = __shfl_sync(0xffff0000u, lane * 10, 20);
    }
    row[7] = static_cast<int>(warp_sum(static_cast<float>(lane)));
}

// One warp: d[16,8] = a[16,16]·b[16,8] by ldmatrix, the rows fetched by cp.async.
extern "C" __global__ void selftest_mma(float* d, const bf16* a, const bf16* b_transposed, const bf16* b) {
    __shared__ __align__(16) bf16 tile_a[16][24];
    __shared__ __align__(16) bf16 tile_b[8][24];
    __shared__ __align__(16) bf16 tile_bt[16][8];
    const int lane = threadIdx.x;
    cp_async_16(&tile_a[lane / 2][lane % 2 * 8], a + lane * 8, true);
    if (lane < 16) {
        cp_async_16(&tile_b[lane / 2][lane % 2 * 8], b_transposed + lane * 8, true);
        cp_async_16(tile_bt[lane], b + lane * 8, true);
    }
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    uint32_t fragment_a[4], fragment_b[2], other_b[2];
    ldmatrix_x4(fragment_a, &tile_a[lane % 16][lane / 16 * 8]);
    ldmatrix_x2(fragment_b, &tile_b[lane % 8][lane / 8 % 2 * 8]);
    ldmatrix_x2_trans(other_b, tile_bt[lane % 16]);
    float sums[4] = {};
    mma_bf16_m16n8k16(sums, fragment_a, fragment_b);
    float others[4] = {};
    mma_bf16_m16n8k16(others, fragment_a, other_b);
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4 + i / 2 * 8;
        const int column = lane % 4 * 2 + i % 2;
        d[row * 8 + column] = sums[i];
        d[128 + row * 8 + column] = others[i];
    }
}

// Whether cp.async that nobody waits for shows, and zeros where the source is not valid.
extern "C" __global__ void selftest_cp_async(float* out, const float* in, int wait) {
    __shared__ __align__(16) float row[8];
    cp_async_16(row, in, true);
    cp_async_16(row + 4, in, false);
    cp_async_commit();
    if (wait) {
        cp_async_wait<0>();
    }
    for (int i = 0; i < 8; i++) {
        out[i] = row[i];
    }
}

extern "C" __global__ void selftest_divergent(int* out) {
    if (threadIdx.x < 40) {
        __syncthreads();
    }
    out[threadIdx.x] = 1;
}

extern "C" __global__ void selftest_half_warp(int* out) {
    if (threadIdx.x < 8) {
        out[threadIdx.x] = __shfl_sync(FULL_WARP, 1, 0);
    } else {
        __syncthreads();
    }
}

// Each thread reads what its neighbour wrote; right only with the barrier.
extern "C" __global__ void selftest_neighbour(int* out, int with_barrier) {
    DYNAMIC_SHARED(int, shared);
    shared[threadIdx.x] = threadIdx.x;
    if (with_barrier) {
        __syncthreads();
    }
    out[threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
}

extern "C" __global__ void selftest_store(int* out, long long index, int value) {
    out[index] = value;
}

extern "C" __global__ void selftest_store_vector(float* out) {
    const float four[4] = {1.f, 2.f, 3.f, 4.f};
    store_vector<float>(out, four);
}

// What shared memory holds before anybody writes it: out[0] static, out[1] dynamic.
extern "C" __global__ void selftest_fresh_shared(int* out) {
    __shared__ int word;
    DYNAMIC_SHARED(int, words);
    out[2 * blockIdx.x] = word;
    out[2 * blockIdx.x + 1] = words[0];
    word = 7;
    words[0] = 7;
}

extern "C" __global__ void selftest_past_shared(int* out, int index) {
    DYNAMIC_SHARED(int, words);
    words[index] = 1;
    out[0] = 1;
}

extern "C" __global__ void selftest_past_static_shared(int* out, int index) {
    __shared__ int words[8];
    words[index] = 1;
    __syncthreads();
    out[0] = words[0];
}

extern "C" __global__ void selftest_count(unsigned* counter) {
    atomicAdd(counter, 1);
}

extern "C" __global__ void selftest_parameters(
        char a, double b, short c, float d, long long e, unsigned char f, double* out) {
    out[0] = a + b + c + d + static_cast<double>(e) + f;
}

extern "C" __global__ void selftest_indices(int* out) {
    const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = block * 1000 + thread;
}
