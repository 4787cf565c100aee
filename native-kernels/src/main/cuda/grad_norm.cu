// The global L2 norm of a gradient g [P] f32, and the factor that clips it.
//
// square writes one f64 sum of squares per block with =; finish writes norm f32 [2] with =: ‖g‖ and
// min(1, max_norm/(‖g‖ + 1e-6)), or 1 when max_norm is 0; and adds 1 to updates f32 [1] when ‖g‖ is finite.
// Bytes per element: 4. Squares are summed in f64, so neither the size of the gradient nor of its values matters; the
// order depends on the sizes of launch and gradient alone.
#include "common/flat.cuh"
#include "common/reduce.cuh"

namespace grad_norm {

__device__ __forceinline__ double square(float value) {
    return static_cast<double>(value) * static_cast<double>(value);
}

}  // namespace grad_norm

extern "C" __global__ void grad_norm_square(double* partial, const float* g, long long head, long long packs, long long count) {
    double sum = 0.;
    for_each_float4(
            head, packs, count,
            [&](long long i) {
                const float4 v = *reinterpret_cast<const float4*>(g + i);
                sum += (grad_norm::square(v.x) + grad_norm::square(v.y))
                        + (grad_norm::square(v.z) + grad_norm::square(v.w));
            },
            [&](long long i) { sum += grad_norm::square(g[i]); });
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
    }
}

// One block.
extern "C" __global__ void grad_norm_finish(
        float* norm, float* updates, const double* partial, int parts, float max_norm) {
    double sum = 0.;
    for (int part = static_cast<int>(threadIdx.x); part < parts; part += static_cast<int>(blockDim.x)) {
        sum += partial[part];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        const double length = sqrt(sum);
        const float stored = static_cast<float>(length);
        norm[0] = stored;
        norm[1] = max_norm == 0.f ? 1.f : static_cast<float>(fmin(1., max_norm / (length + 1e-6)));
        if (isfinite(stored)) {
            updates[0] += 1.f;
        }
    }
}
