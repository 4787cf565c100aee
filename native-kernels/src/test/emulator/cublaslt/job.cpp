#include "job.h"

#include <cstring>

#include "controls.h"

namespace product {

namespace {

int run(void* data) {
    const Job& job = *static_cast<Job*>(data);
    for (const Job::Range& range : job.ranges) {
        const int code = jlora_emulator_check_range(
                reinterpret_cast<unsigned long long>(range.at), range.bytes, range.what);
        if (code != 0) {
            return code;
        }
    }
    multiply(job.product);
    if (job.workspace_bytes > 0) {
        // Whoever keeps something in there loses it.
        std::memset(job.workspace, 0xff, job.workspace_bytes);
    }
    return 0;
}

void release(void* data) {
    delete static_cast<Job*>(data);
}

}  // namespace

std::size_t bytes_of(int type, int64_t rows, int64_t cols, int64_t stride) {
    if (rows == 0 || cols == 0) {
        return 0;
    }
    return static_cast<std::size_t>((cols - 1) * stride + rows) * bytes_of(type_of(type));
}

bool aligned(const void* at, std::size_t bytes) {
    return reinterpret_cast<uintptr_t>(at) % bytes == 0;
}

cublasStatus_t enqueue(void* stream, const char* name, Job* job) {
    return jlora_emulator_enqueue(stream, name, run, job, release) == 0 ? CUBLAS_STATUS_SUCCESS
                                                                        : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace product
