// AdamW (arXiv 1711.05101, algorithm 2) over flat f32 buffers, with the arithmetic of torch.optim.AdamW:
//     g = gradient·norm[1];  p = p·(1 − rate·decay);  m += (1 − β₁)·(g − m);  v = β₂·v + (1 − β₂)·g²;
//     p −= rate/correction₁ · m/(√v/√correction₂ + eps);  gradient = 0;
// and the new p go, scaled and rounded, to where products read them.
//
// p (the master), gradient, m, v [P]; schedule [3]: rate, correction₁ = 1 − β₁ᵗ, correction₂ = 1 − β₂ᵗ; norm [2].
// All of them, and every copy, are written with =.
// Bytes per element: 32, and 2 or 4 per copy: the master is read once.
#include "common/copies.cuh"
#include "common/flat.cuh"

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
        float* master, float* gradient, float* m, float* v, const float* schedule, const float* norm, float moment,
        float keep_square, float square, float eps, double weight_decay, long long decayed, const Copy* table,
        int copies, long long head, long long packs, long long count) {
    __shared__ adamw::Factors shared;
    if (threadIdx.x == 0) {
        // In f64 and rounded once, as torch forms its scalars.
        const double rate = schedule[0];
        shared.clip = norm[1];
        shared.keep = static_cast<float>(1. - rate * weight_decay);
        shared.moment = moment;
        shared.keep_square = keep_square;
        shared.square = square;
        shared.root = static_cast<float>(sqrt(static_cast<double>(schedule[2])));
        shared.eps = eps;
        shared.step = static_cast<float>(-rate / schedule[1]);
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
