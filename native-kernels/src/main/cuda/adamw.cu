// AdamW (arXiv 1711.05101, algorithm 2) over flat f32 buffers, with the arithmetic of torch.optim.AdamW:
//     g = gradient·norm[1];  p = p·(1 − rate·decay);  m += (1 − β₁)·(g − m);  v = β₂·v + (1 − β₂)·g²;
//     p −= rate/correction₁ · m/(√v/√correction₂ + eps);  gradient = 0;
// and the new p go, scaled and rounded, to where products read them. When norm[0] is not finite, gradient = 0 is all.
//
// p (the master), gradient, m, v [P]; learning_rate [1]; norm [2]; updates [1]: t of correctionᵢ = 1 − βᵢᵗ.
// p, gradient, m, v and every copy are written with =.
// Bytes per element: 32, and 2 or 4 per copy: the master is read once.
#include "common/copies.cuh"
#include "common/flat.cuh"
#include "common/reduce.cuh"

namespace adamw {

struct Factors {
    float clip;
    float keep;
    float moment;
    float keep_square;
    float square;
    float root;
    float eps;
    float step;

    // Returns the new parameter.
    __device__ __forceinline__ float update(float p, float g, float& m, float& v, bool decayed) const {
        g *= clip;
        m = fmaf(g - m, moment, m);
        v = fmaf(g * square, g, v * keep_square);
        return m * step / (sqrtf(v) / root + eps) + (decayed ? p * keep : p);
    }
};

}  // namespace adamw

extern "C" __global__ void __launch_bounds__(256) adamw_update(
        float* master, float* gradient, float* m, float* v, const float* learning_rate, const float* norm,
        const float* updates, double log_beta1, double log_beta2, float moment, float keep_square, float square,
        float eps, double weight_decay, long long decayed, const Copy* table, int copies, long long head,
        long long packs, long long count) {
    // The same answer in every block: norm is complete before this kernel starts.
    if (!isfinite(norm[0])) {
        for_each_float4(
                head, packs, count,
                [=](long long i) {
                    *reinterpret_cast<float4*>(gradient + i) = make_float4(0.f, 0.f, 0.f, 0.f);
                },
                [=](long long i) { gradient[i] = 0.f; });
        return;
    }
    __shared__ adamw::Factors shared;
    // In f64 and rounded once, as torch forms its scalars. 1 − βᵗ = −(exp(t·log β) − 1) takes a fraction of pow's
    // time, for which every block waits; so two warps share it.
    if (threadIdx.x == 0) {
        const double rate = learning_rate[0];
        shared.clip = norm[1];
        shared.keep = static_cast<float>(1. - rate * weight_decay);
        shared.moment = moment;
        shared.keep_square = keep_square;
        shared.square = square;
        shared.eps = eps;
        shared.step = static_cast<float>(rate / expm1(updates[0] * log_beta1));
    } else if (threadIdx.x == WARP) {
        shared.root = static_cast<float>(sqrt(-expm1(updates[0] * log_beta2)));
    }
    __syncthreads();
    const adamw::Factors factors = shared;
    for_each_float4(
            head, packs, count,
            [=](long long i) {
                const float4 p = *reinterpret_cast<const float4*>(master + i);
                const float4 g = *reinterpret_cast<const float4*>(gradient + i);
                float4 first = *reinterpret_cast<const float4*>(m + i);
                float4 second = *reinterpret_cast<const float4*>(v + i);
                const float4 next = make_float4(
                        factors.update(p.x, g.x, first.x, second.x, i < decayed),
                        factors.update(p.y, g.y, first.y, second.y, i + 1 < decayed),
                        factors.update(p.z, g.z, first.z, second.z, i + 2 < decayed),
                        factors.update(p.w, g.w, first.w, second.w, i + 3 < decayed));
                *reinterpret_cast<float4*>(master + i) = next;
                *reinterpret_cast<float4*>(m + i) = first;
                *reinterpret_cast<float4*>(v + i) = second;
                *reinterpret_cast<float4*>(gradient + i) = make_float4(0.f, 0.f, 0.f, 0.f);
                if (copies > 0) {
                    const CopyPlace place(table, copies, i);
                    if (place.holds_four()) {
                        place.write_four(next);
                    } else {
                        place.write(next.x);
                        CopyPlace(table, copies, i + 1).write(next.y);
                        CopyPlace(table, copies, i + 2).write(next.z);
                        CopyPlace(table, copies, i + 3).write(next.w);
                    }
                }
            },
            [=](long long i) {
                float first = m[i];
                float second = v[i];
                const float next = factors.update(master[i], gradient[i], first, second, i < decayed);
                master[i] = next;
                m[i] = first;
                v[i] = second;
                gradient[i] = 0.f;
                if (copies > 0) {
                    CopyPlace(table, copies, i).write(next);
                }
            });
}
