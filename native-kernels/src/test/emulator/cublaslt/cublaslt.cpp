// Stand-in for cuBLASLt: the part that jlora binds, with its checks, its algorithms and its workspace rules.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <set>
#include <tuple>
#include <vector>

#include "controls.h"
#include "job.h"

struct cublasLtMatmulAlgo_t {
    uint64_t data[8];
};

struct cublasLtMatmulHeuristicResult_t {
    cublasLtMatmulAlgo_t algo;
    std::size_t workspaceSize;
    cublasStatus_t state;
    float wavesCount;
    int reserved[4];
};

namespace {

using namespace product;

constexpr int version = 130100;
constexpr int cudart_version = 13000;
constexpr int epilogue_default = 1;
constexpr int epilogue_bias = 4;
constexpr int scale_all = 0;
constexpr int scale_row = 3;
constexpr int scale_piece = 4;
constexpr int scale_block = 5;

struct Object {
    virtual ~Object() = default;
};

struct Handle : Object {};

struct MatmulDesc : Object {
    int compute_type = compute_f32;
    int scale_type = data_type_f32;
    int pointer_mode = 0;
    int transposed_a = 0;
    int transposed_b = 0;
    int transposed_c = 0;
    int epilogue = epilogue_default;
    void* bias = nullptr;
    int bias_type = -1;
    signed char fast_accumulation = 0;
    void* scales[4] = {};
    /** Of A and B; values of cublasLtMatmulMatrixScale_t. */
    int scale_modes[2] = {};
};

struct Layout : Object {
    int type = 0;
    uint64_t rows = 0;
    uint64_t cols = 0;
    int64_t stride = 0;
    int order = 0;
    int batches = 1;
    int64_t batch_stride = 0;
};

struct Preference : Object {
    int search_mode = 0;
    uint64_t workspace = 0;
    uint32_t reduction_mask = 0xff;
    uint32_t alignment[4] = {256, 256, 256, 256};
    float waves = 0;
    uint64_t implementations = ~0ull;
};

std::mutex lock;
std::set<Object*> objects;

template <class T>
T* live(void* object) {
    const std::lock_guard<std::mutex> guard(lock);
    return objects.count(static_cast<Object*>(object)) == 0 ? nullptr : dynamic_cast<T*>(static_cast<Object*>(object));
}

template <class T>
T* created() {
    const std::lock_guard<std::mutex> guard(lock);
    T* const object = new T();
    objects.insert(object);
    jlora_emulator_object(1);
    return object;
}

/** Destroys even when a test makes the call fail, as the driver's calls do. */
template <class T>
cublasStatus_t destroy(const char* name, void* object) {
    const int injected = jlora_emulator_enter(name);
    T* const found = live<T>(object);
    if (found == nullptr) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    const std::lock_guard<std::mutex> guard(lock);
    objects.erase(found);
    jlora_emulator_object(-1);
    delete found;
    return static_cast<cublasStatus_t>(injected);
}

/** An attribute by its number: where its value lies. */
struct Attribute {
    int number;
    void* at;
    std::size_t bytes;
};

cublasStatus_t access(const std::vector<Attribute>& attributes, int number, void* value, std::size_t bytes, bool set,
        std::size_t* written) {
    for (const Attribute& attribute : attributes) {
        if (attribute.number == number) {
            if (written != nullptr) {
                *written = attribute.bytes;
            }
            if (value == nullptr || bytes != attribute.bytes) {
                return CUBLAS_STATUS_INVALID_VALUE;
            }
            std::memcpy(set ? attribute.at : value, set ? value : attribute.at, bytes);
            return CUBLAS_STATUS_SUCCESS;
        }
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

std::vector<Attribute> attributes_of(MatmulDesc& desc) {
    return {
        {0, &desc.compute_type, 4},
        {1, &desc.scale_type, 4},
        {2, &desc.pointer_mode, 4},
        {3, &desc.transposed_a, 4},
        {4, &desc.transposed_b, 4},
        {5, &desc.transposed_c, 4},
        {7, &desc.epilogue, 4},
        {8, &desc.bias, 8},
        {17, &desc.scales[0], 8},
        {18, &desc.scales[1], 8},
        {19, &desc.scales[2], 8},
        {20, &desc.scales[3], 8},
        {25, &desc.fast_accumulation, 1},
        {26, &desc.bias_type, 4},
        {31, &desc.scale_modes[0], 4},
        {32, &desc.scale_modes[1], 4},
    };
}

std::vector<Attribute> attributes_of(Layout& layout) {
    return {
        {0, &layout.type, 4},
        {1, &layout.order, 4},
        {2, &layout.rows, 8},
        {3, &layout.cols, 8},
        {4, &layout.stride, 8},
        {5, &layout.batches, 4},
        {6, &layout.batch_stride, 8},
    };
}

std::vector<Attribute> attributes_of(Preference& preference) {
    return {
        {0, &preference.search_mode, 4},
        {1, &preference.workspace, 8},
        {3, &preference.reduction_mask, 4},
        {5, &preference.alignment[0], 4},
        {6, &preference.alignment[1], 4},
        {7, &preference.alignment[2], 4},
        {8, &preference.alignment[3], 4},
        {9, &preference.waves, 4},
        {12, &preference.implementations, 8},
    };
}

template <class T>
cublasStatus_t access(const char* name, void* object, int number, void* value, std::size_t bytes, bool set,
        std::size_t* written) {
    if (const int injected = jlora_emulator_enter(name)) {
        return static_cast<cublasStatus_t>(injected);
    }
    T* const found = live<T>(object);
    return found == nullptr ? CUBLAS_STATUS_INVALID_VALUE
                            : access(attributes_of(*found), number, value, bytes, set, written);
}

Type type_of(const Layout& layout) {
    return product::type_of(layout.type);
}

std::size_t bytes_of(const Layout& layout) {
    return product::bytes_of(layout.type, static_cast<int64_t>(layout.rows), static_cast<int64_t>(layout.cols),
            layout.stride);
}

/** All descriptors of a product that go together, checked. */
struct Problem {
    MatmulDesc* desc = nullptr;
    Layout* a = nullptr;
    Layout* b = nullptr;
    Layout* c = nullptr;
    Layout* d = nullptr;
    int64_t m = 0, n = 0, k = 0;

    cublasStatus_t read(void* desc_, void* a_, void* b_, void* c_, void* d_) {
        desc = live<MatmulDesc>(desc_);
        a = live<Layout>(a_);
        b = live<Layout>(b_);
        c = live<Layout>(c_);
        d = live<Layout>(d_);
        if (desc == nullptr || a == nullptr || b == nullptr || c == nullptr || d == nullptr) {
            return CUBLAS_STATUS_INVALID_VALUE;
        }
        for (const Layout* layout : {a, b, c, d}) {
            if ((!is_known(layout->type) && layout->type != data_type_e4m3) || layout->order != 0 || layout->batches != 1) {
                return CUBLAS_STATUS_NOT_SUPPORTED;
            }
            if (layout->stride < static_cast<int64_t>(layout->rows)) {
                return CUBLAS_STATUS_INVALID_VALUE;
            }
        }
        const bool types_go = fp8() ? b->type == data_type_e4m3 && c->type == d->type && is_known(d->type)
                                    : is_known(d->type) && types_go_together(a->type, b->type, c->type, d->type);
        const bool bias_goes = (desc->epilogue & epilogue_bias) == 0 || desc->bias_type == -1
                || desc->bias_type == (fp8() ? data_type_bf16 : d->type);
        const bool plain = desc->pointer_mode == 0 && desc->transposed_c == 0 && desc->scale_type == data_type_f32
                && (desc->compute_type == compute_f32 || desc->compute_type == compute_f32_pedantic)
                && (desc->epilogue == epilogue_default || desc->epilogue == epilogue_bias);
        if (!types_go || !bias_goes || !plain) {
            return CUBLAS_STATUS_NOT_SUPPORTED;
        }
        const bool ta = desc->transposed_a == operation_transpose;
        const bool tb = desc->transposed_b == operation_transpose;
        m = static_cast<int64_t>(ta ? a->cols : a->rows);
        k = static_cast<int64_t>(ta ? a->rows : a->cols);
        n = static_cast<int64_t>(tb ? b->rows : b->cols);
        const auto k_of_b = static_cast<int64_t>(tb ? b->cols : b->rows);
        for (const Layout* layout : {c, d}) {
            if (static_cast<int64_t>(layout->rows) != m || static_cast<int64_t>(layout->cols) != n) {
                return CUBLAS_STATUS_INVALID_VALUE;
            }
        }
        if (k != k_of_b) {
            return CUBLAS_STATUS_INVALID_VALUE;
        }
        const bool scaled = desc->scale_modes[0] != scale_all || desc->scale_modes[1] != scale_all;
        return fp8() ? (fp8_goes(ta, tb) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED)
                     : (scaled ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS);
    }

    bool fp8() const {
        return a->type == data_type_e4m3;
    }

    /** What cuBLASLt asks of FP8 products on Hopper: A transposed and B not, 16 bytes, factors that go together. */
    bool fp8_goes(bool ta, bool tb) const {
        const int of_a = desc->scale_modes[0], of_b = desc->scale_modes[1];
        const bool pieces = of_a == scale_piece || of_b == scale_piece;
        const bool factors_go = pieces ? (of_a == scale_piece || of_a == scale_block)
                                                && (of_b == scale_piece || of_b == scale_block)
                                       : of_a == of_b && of_a != scale_block;
        const int64_t bytes = static_cast<int64_t>(product::bytes_of(type_of(*d)));
        return ta && !tb && factors_go && k % 16 == 0 && m * bytes % 16 == 0 && strides_aligned()
                && (!pieces || (m % 4 == 0 && n % 4 == 0));
    }

    static Scaling scaling(int mode) {
        return mode == scale_row ? Scaling::ROW
                : mode == scale_piece ? Scaling::PIECE
                : mode == scale_block ? Scaling::BLOCK
                                      : Scaling::ALL;
    }

    /** Whether the factors of an FP8 matrix are where they may be. */
    bool factors_lie_right() const {
        for (int i = 0; fp8() && i < 2; i++) {
            const void* const at = desc->scales[i];
            if (desc->scale_modes[i] == scale_all ? !aligned(at, 4) : at == nullptr || !aligned(at, 16)) {
                return false;
            }
        }
        return true;
    }

    /** Whether the leading dimensions suit loads of 16 bytes. */
    bool strides_aligned() const {
        for (const Layout* layout : {a, b, c, d}) {
            if (static_cast<uint64_t>(layout->stride) * product::bytes_of(type_of(*layout)) % 16 != 0) {
                return false;
            }
        }
        return true;
    }
};

/** What we keep in the words of an algorithm. */
struct Algorithm {
    static constexpr uint64_t magic = 0x6a6c6f7261656d75;

    int id = 0;
    int splits = 1;
    int reduction = 0;
    /** That the matrices must have. */
    int alignment = 1;

    static bool read(const cublasLtMatmulAlgo_t& words, Algorithm* to) {
        if (words.data[0] != magic) {
            return false;
        }
        *to = {static_cast<int>(words.data[1]), static_cast<int>(words.data[2]), static_cast<int>(words.data[3]),
            static_cast<int>(words.data[4])};
        return true;
    }

    cublasLtMatmulAlgo_t words() const {
        return {{magic, static_cast<uint64_t>(id), static_cast<uint64_t>(splits), static_cast<uint64_t>(reduction),
            static_cast<uint64_t>(alignment), 0, 0, 0}};
    }

    std::size_t workspace(const Problem& problem) const {
        return splits == 1 ? 0 : static_cast<std::size_t>(splits * problem.m * problem.n) * sizeof(float);
    }
};

}  // namespace

extern "C" {

cublasStatus_t cublasLtCreate(void** handle) {
    if (const int injected = jlora_emulator_enter("cublasLtCreate")) {
        return static_cast<cublasStatus_t>(injected);
    }
    if (jlora_emulator_has_context() == 0) {
        return CUBLAS_STATUS_NOT_INITIALIZED;
    }
    *handle = static_cast<Object*>(created<Handle>());
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(void* handle) {
    return destroy<Handle>("cublasLtDestroy", handle);
}

std::size_t cublasLtGetVersion() {
    return version;
}

std::size_t cublasLtGetCudartVersion() {
    return cudart_version;
}

const char* cublasLtGetStatusName(cublasStatus_t status) {
    switch (status) {
        case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
        case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
        case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
        case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
        case CUBLAS_STATUS_ARCH_MISMATCH: return "CUBLAS_STATUS_ARCH_MISMATCH";
        case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
        case CUBLAS_STATUS_INTERNAL_ERROR: return "CUBLAS_STATUS_INTERNAL_ERROR";
        case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "unknown status";
}

const char* cublasLtGetStatusString(cublasStatus_t status) {
    switch (status) {
        case CUBLAS_STATUS_SUCCESS: return "success";
        case CUBLAS_STATUS_NOT_INITIALIZED: return "the library was not initialized";
        case CUBLAS_STATUS_ALLOC_FAILED: return "the resource allocation failed";
        case CUBLAS_STATUS_INVALID_VALUE: return "an unsupported value or parameter was passed to the function";
        case CUBLAS_STATUS_ARCH_MISMATCH: return "the device architecture lacks a needed feature";
        case CUBLAS_STATUS_EXECUTION_FAILED: {
            static thread_local char text[2048];
            char fault[1024];
            jlora_emulator_last_fault(fault, sizeof fault);
            std::snprintf(text, sizeof text, "the function failed to launch on the GPU (%s)", fault);
            return text;
        }
        case CUBLAS_STATUS_INTERNAL_ERROR: return "an internal operation failed";
        case CUBLAS_STATUS_NOT_SUPPORTED: return "the functionality requested is not supported";
    }
    return "unknown status";
}

cublasStatus_t cublasLtMatmulDescCreate(void** desc, int compute_type, int scale_type) {
    if (const int injected = jlora_emulator_enter("cublasLtMatmulDescCreate")) {
        return static_cast<cublasStatus_t>(injected);
    }
    auto* const object = created<MatmulDesc>();
    object->compute_type = compute_type;
    object->scale_type = scale_type;
    *desc = static_cast<Object*>(object);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(void* desc) {
    return destroy<MatmulDesc>("cublasLtMatmulDescDestroy", desc);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(void* desc, int attribute, const void* value, std::size_t bytes) {
    return access<MatmulDesc>(
            "cublasLtMatmulDescSetAttribute", desc, attribute, const_cast<void*>(value), bytes, true, nullptr);
}

cublasStatus_t cublasLtMatmulDescGetAttribute(
        void* desc, int attribute, void* value, std::size_t bytes, std::size_t* written) {
    return access<MatmulDesc>("cublasLtMatmulDescGetAttribute", desc, attribute, value, bytes, false, written);
}

cublasStatus_t cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t cols, int64_t stride) {
    if (const int injected = jlora_emulator_enter("cublasLtMatrixLayoutCreate")) {
        return static_cast<cublasStatus_t>(injected);
    }
    auto* const object = created<Layout>();
    object->type = type;
    object->rows = rows;
    object->cols = cols;
    object->stride = stride;
    *layout = static_cast<Object*>(object);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(void* layout) {
    return destroy<Layout>("cublasLtMatrixLayoutDestroy", layout);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(void* layout, int attribute, const void* value, std::size_t bytes) {
    return access<Layout>(
            "cublasLtMatrixLayoutSetAttribute", layout, attribute, const_cast<void*>(value), bytes, true, nullptr);
}

cublasStatus_t cublasLtMatrixLayoutGetAttribute(
        void* layout, int attribute, void* value, std::size_t bytes, std::size_t* written) {
    return access<Layout>("cublasLtMatrixLayoutGetAttribute", layout, attribute, value, bytes, false, written);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(void** preference) {
    if (const int injected = jlora_emulator_enter("cublasLtMatmulPreferenceCreate")) {
        return static_cast<cublasStatus_t>(injected);
    }
    *preference = static_cast<Object*>(created<Preference>());
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(void* preference) {
    return destroy<Preference>("cublasLtMatmulPreferenceDestroy", preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(
        void* preference, int attribute, const void* value, std::size_t bytes) {
    return access<Preference>("cublasLtMatmulPreferenceSetAttribute", preference, attribute,
            const_cast<void*>(value), bytes, true, nullptr);
}

cublasStatus_t cublasLtMatmulPreferenceGetAttribute(
        void* preference, int attribute, void* value, std::size_t bytes, std::size_t* written) {
    return access<Preference>(
            "cublasLtMatmulPreferenceGetAttribute", preference, attribute, value, bytes, false, written);
}

// Three ways: at once; in two parts that are added up in a pass of their own; in two parts added up in place, whose
// order a GPU leaves to chance.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(void* handle, void* desc, void* a, void* b, void* c, void* d,
        void* preference, int requested, cublasLtMatmulHeuristicResult_t* results, int* count) {
    if (const int injected = jlora_emulator_enter("cublasLtMatmulAlgoGetHeuristic")) {
        return static_cast<cublasStatus_t>(injected);
    }
    Problem problem;
    Preference* const wish = live<Preference>(preference);
    *count = 0;
    if (live<Handle>(handle) == nullptr || wish == nullptr || requested < 1) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    const cublasStatus_t status = problem.read(desc, a, b, c, d);
    if (status != CUBLAS_STATUS_SUCCESS) {
        return status;
    }
    const uint32_t least = *std::min_element(wish->alignment, wish->alignment + 4);
    const int alignment = least >= 16 && problem.strides_aligned() ? 16 : 1;
    if (problem.fp8() && alignment < 16) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    for (const Algorithm& algorithm :
            {Algorithm{1, 1, 0, alignment}, Algorithm{2, 2, 2, alignment}, Algorithm{3, 2, 1, alignment}}) {
        const bool allowed = algorithm.reduction == 0 || (wish->reduction_mask & algorithm.reduction) != 0;
        const bool useful = algorithm.splits == 1 || problem.k >= 2;
        if (allowed && useful && algorithm.workspace(problem) <= wish->workspace && *count < requested) {
            results[(*count)++] = {algorithm.words(), algorithm.workspace(problem), CUBLAS_STATUS_SUCCESS, 1.f, {}};
        }
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(void* handle, void* desc, void* a, void* b, void* c, void* d,
        const cublasLtMatmulAlgo_t* words, cublasLtMatmulHeuristicResult_t* result) {
    if (const int injected = jlora_emulator_enter("cublasLtMatmulAlgoCheck")) {
        return static_cast<cublasStatus_t>(injected);
    }
    Problem problem;
    Algorithm algorithm;
    if (live<Handle>(handle) == nullptr || !Algorithm::read(*words, &algorithm)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    const cublasStatus_t status = problem.read(desc, a, b, c, d);
    if (status != CUBLAS_STATUS_SUCCESS) {
        return status;
    }
    if (algorithm.alignment == 16 && !problem.strides_aligned()) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    *result = {*words, algorithm.workspace(problem), CUBLAS_STATUS_SUCCESS, 1.f, {}};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(
        const cublasLtMatmulAlgo_t* words, int attribute, void* value, std::size_t bytes, std::size_t* written) {
    Algorithm algorithm;
    if (!Algorithm::read(*words, &algorithm)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    int tile = 0;
    const std::vector<Attribute> attributes = {
        {0, &algorithm.id, 4}, {1, &tile, 4}, {2, &algorithm.splits, 4}, {3, &algorithm.reduction, 4}};
    return access(attributes, attribute, value, bytes, false, written);
}

cublasStatus_t cublasLtMatmul(void* handle, void* desc, const void* alpha, const void* a_at, void* a,
        const void* b_at, void* b, const void* beta, const void* c_at, void* c, void* d_at, void* d,
        const cublasLtMatmulAlgo_t* words, void* workspace, std::size_t workspace_bytes, void* stream) {
    if (const int injected = jlora_emulator_enter("cublasLtMatmul")) {
        return static_cast<cublasStatus_t>(injected);
    }
    Problem problem;
    if (live<Handle>(handle) == nullptr || alpha == nullptr || beta == nullptr) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    const cublasStatus_t status = problem.read(desc, a, b, c, d);
    if (status != CUBLAS_STATUS_SUCCESS) {
        return status;
    }
    Algorithm algorithm;
    if (words != nullptr && !Algorithm::read(*words, &algorithm)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    const std::size_t needed = algorithm.workspace(problem);
    if (needed > workspace_bytes || !problem.factors_lie_right() || (algorithm.alignment == 16 && !problem.strides_aligned())) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    const auto required = [&](const Layout* layout) {
        return std::max(static_cast<std::size_t>(algorithm.alignment), product::bytes_of(type_of(*layout)));
    };
    const bool has_bias = (problem.desc->epilogue & epilogue_bias) != 0;
    if (!aligned(a_at, required(problem.a)) || !aligned(b_at, required(problem.b))
        || !aligned(c_at, required(problem.c)) || !aligned(d_at, required(problem.d))
        || (has_bias && (problem.desc->bias == nullptr || !aligned(problem.desc->bias, 2)))) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }

    auto* const job = new Job();
    Product& p = job->product;
    p.m = problem.m;
    p.n = problem.n;
    p.k = problem.k;
    p.a = {const_cast<void*>(a_at), type_of(*problem.a), problem.a->stride,
        problem.desc->transposed_a == operation_transpose, Problem::scaling(problem.desc->scale_modes[0]),
        static_cast<const float*>(problem.desc->scales[0])};
    p.b = {const_cast<void*>(b_at), type_of(*problem.b), problem.b->stride,
        problem.desc->transposed_b == operation_transpose, Problem::scaling(problem.desc->scale_modes[1]),
        static_cast<const float*>(problem.desc->scales[1])};
    p.c = {const_cast<void*>(c_at), type_of(*problem.c), problem.c->stride, false};
    p.d = {d_at, type_of(*problem.d), problem.d->stride, false};
    std::memcpy(&p.alpha, alpha, sizeof p.alpha);
    std::memcpy(&p.beta, beta, sizeof p.beta);
    p.bias = has_bias ? problem.desc->bias : nullptr;
    p.splits = algorithm.splits;
    job->workspace = workspace;
    job->workspace_bytes = needed;
    job->ranges = {{"cublasLtMatmul: A", a_at, bytes_of(*problem.a)}, {"cublasLtMatmul: B", b_at, bytes_of(*problem.b)},
        {"cublasLtMatmul: D", d_at, bytes_of(*problem.d)}, {"cublasLtMatmul: workspace", workspace, needed}};
    if (p.beta != 0.f) {
        job->ranges.push_back({"cublasLtMatmul: C", c_at, bytes_of(*problem.c)});
    }
    if (has_bias) {
        job->ranges.push_back({"cublasLtMatmul: bias", p.bias,
            static_cast<std::size_t>(p.m) * product::bytes_of(type_of(*problem.d))});
    }
    for (const auto& [what, matrix, rows] : {std::tuple{"cublasLtMatmul: factors of A", p.a, p.m},
                 std::tuple{"cublasLtMatmul: factors of B", p.b, p.n}}) {
        if (matrix.type == Type::E4M3 && matrix.scales != nullptr) {
            job->ranges.push_back({what, matrix.scales,
                static_cast<std::size_t>(product::scales_of(matrix.scaling, rows, p.k)) * sizeof(float)});
        }
    }
    return enqueue(stream, "cublasLtMatmul", job);
}

}  // extern "C"
