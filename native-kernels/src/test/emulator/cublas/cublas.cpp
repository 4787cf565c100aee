// Stand-in for cuBLAS 12: the calls that jlora makes through JCublas. Other functions of the library, to which
// JCublas's own library binds as they are called, are not here.

#include <algorithm>
#include <cstring>
#include <mutex>
#include <set>

#include "controls.h"
#include "job.h"

namespace {

using namespace product;

constexpr int version = 120601;
constexpr int algorithm_default = -1;
constexpr std::size_t workspace_alignment = 256;

struct Handle {
    void* stream = nullptr;
    /** The caller's; null for one of the library's own, which a captured graph would leave behind. */
    void* workspace = nullptr;
    std::size_t workspace_bytes = 0;
};

std::mutex lock;
std::set<Handle*> handles;

Handle* live(void* handle) {
    const std::lock_guard<std::mutex> guard(lock);
    return handles.count(static_cast<Handle*>(handle)) == 0 ? nullptr : static_cast<Handle*>(handle);
}

/** One matrix as it is stored. */
struct Stored {
    const char* what;
    const void* at;
    int type;
    int64_t rows, cols;
    int stride;

    bool valid() const {
        return at != nullptr && stride >= rows && stride >= 1 && aligned(at, product::bytes_of(type_of(type)));
    }

    Job::Range range() const {
        return {what, at, product::bytes_of(type, rows, cols, stride)};
    }

    Matrix matrix(bool transposed) const {
        return {const_cast<void*>(at), type_of(type), stride, transposed};
    }
};

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(void** handle) {
    if (const int injected = jlora_emulator_enter("cublasCreate_v2")) {
        return static_cast<cublasStatus_t>(injected);
    }
    if (jlora_emulator_has_context() == 0) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    auto* const created = new Handle();
    const std::lock_guard<std::mutex> guard(lock);
    handles.insert(created);
    jlora_emulator_object(1);
    *handle = created;
    return CUBLAS_STATUS_SUCCESS;
}

/** Destroys even when a test makes the call fail, as the driver's calls do. */
cublasStatus_t cublasDestroy_v2(void* handle) {
    const int injected = jlora_emulator_enter("cublasDestroy_v2");
    Handle* const found = live(handle);
    if (found == nullptr) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    const std::lock_guard<std::mutex> guard(lock);
    handles.erase(found);
    jlora_emulator_object(-1);
    delete found;
    return static_cast<cublasStatus_t>(injected);
}

cublasStatus_t cublasGetVersion_v2(void* handle, int* to) {
    if (const int injected = jlora_emulator_enter("cublasGetVersion_v2")) {
        return static_cast<cublasStatus_t>(injected);
    }
    if (live(handle) == nullptr) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    *to = version;
    return CUBLAS_STATUS_SUCCESS;
}

/** A caller's workspace does not outlive the stream that it was given for. */
cublasStatus_t cublasSetStream_v2(void* handle, void* stream) {
    if (const int injected = jlora_emulator_enter("cublasSetStream_v2")) {
        return static_cast<cublasStatus_t>(injected);
    }
    Handle* const found = live(handle);
    if (found == nullptr) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    *found = {stream, nullptr, 0};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(void* handle, void* workspace, std::size_t bytes) {
    if (const int injected = jlora_emulator_enter("cublasSetWorkspace_v2")) {
        return static_cast<cublasStatus_t>(injected);
    }
    Handle* const found = live(handle);
    if (found == nullptr) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    if (!aligned(workspace, workspace_alignment)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    found->workspace = workspace;
    found->workspace_bytes = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(void* handle, int operation_a, int operation_b, int m, int n, int k, const void* alpha,
        const void* a_at, int a_type, int lda, const void* b_at, int b_type, int ldb, const void* beta, void* c_at,
        int c_type, int ldc, int compute_type, int algorithm) {
    if (const int injected = jlora_emulator_enter("cublasGemmEx")) {
        return static_cast<cublasStatus_t>(injected);
    }
    const Handle* const found = live(handle);
    if (found == nullptr) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    const bool ta = operation_a == operation_transpose, tb = operation_b == operation_transpose;
    if (!is_known(a_type) || !is_known(b_type) || !is_known(c_type)
        || !types_go_together(a_type, b_type, c_type, c_type) || algorithm != algorithm_default
        || (compute_type != compute_f32 && compute_type != compute_f32_pedantic)) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    const Stored a = {"cublasGemmEx: A", a_at, a_type, ta ? k : m, ta ? m : k, lda};
    const Stored b = {"cublasGemmEx: B", b_at, b_type, tb ? n : k, tb ? k : n, ldb};
    const Stored c = {"cublasGemmEx: C", c_at, c_type, m, n, ldc};
    if (alpha == nullptr || beta == nullptr || operation_a < 0 || operation_a > operation_transpose
        || operation_b < 0 || operation_b > operation_transpose || m < 0 || n < 0 || k < 0 || !a.valid() || !b.valid()
        || !c.valid()) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    auto* const job = new Job();
    Product& p = job->product;
    p.m = m;
    p.n = n;
    p.k = k;
    p.a = a.matrix(ta);
    p.b = b.matrix(tb);
    p.c = p.d = c.matrix(false);
    std::memcpy(&p.alpha, alpha, sizeof p.alpha);
    std::memcpy(&p.beta, beta, sizeof p.beta);
    p.bias = nullptr;
    p.splits = 1;
    job->ranges = {a.range(), b.range(), c.range()};
    if (found->workspace != nullptr) {
        job->ranges.push_back({"cublasGemmEx: workspace", found->workspace, found->workspace_bytes});
        // As if the sums were split in two; its end, so that what a caller keeps behind it is found overwritten.
        job->workspace_bytes = std::min(found->workspace_bytes, 2 * sizeof(float) * static_cast<std::size_t>(m)
                * static_cast<std::size_t>(n));
        job->workspace = static_cast<char*>(found->workspace) + found->workspace_bytes - job->workspace_bytes;
    }
    return enqueue(found->stream, "cublasGemmEx", job);
}

}  // extern "C"
