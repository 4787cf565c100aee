// Writes f32 values to where products read them, all copies in one launch: to[r,c] = scale·from[r,c], rounded to
// nearest even; to is f32 or bf16, and written with =.
// Bytes per element: 4 read, 2 or 4 written.
#include "common/copies.cuh"

// Elements are numbered through all copies; a thread takes four at a time.
extern "C" __global__ void publish_copies(const Copy* table, int copies, long long count) {
    const long long step = 4ll * gridDim.x * blockDim.x;
    for (long long i = 4 * (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x); i < count; i += step) {
        const CopyPlace place(table, copies, i);
        if (place.holds_four()) {
            const float* const from = place.from();
            place.write_four(
                    reinterpret_cast<uintptr_t>(from) % 16 == 0
                            ? *reinterpret_cast<const float4*>(from)
                            : make_float4(from[0], from[1], from[2], from[3]));
        } else {
            for (long long j = i; j < i + 4 && j < count; j++) {
                const CopyPlace one(table, copies, j);
                one.write(*one.from());
            }
        }
    }
}
