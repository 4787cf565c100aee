#include <cmath>
#include <cstdio>

#include "selftest.h"

extern "C" {
int cublasLtCreate(void** handle);
int cublasLtDestroy(void* handle);
int cublasLtMatmulDescCreate(void** desc, int compute_type, int scale_type);
int cublasLtMatmulDescDestroy(void* desc);
int cublasLtMatmulDescSetAttribute(void* desc, int attribute, const void* value, std::size_t bytes);
int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t cols, int64_t stride);
int cublasLtMatrixLayoutDestroy(void* layout);
int cublasLtMatmulPreferenceCreate(void** preference);
int cublasLtMatmulPreferenceDestroy(void* preference);
int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value, std::size_t bytes);
int cublasLtMatmulAlgoGetHeuristic(void* handle, void* desc, void* a, void* b, void* c, void* d, void* preference,
        int requested, void* results, int* count);
int cublasLtMatmul(void* handle, void* desc, const void* alpha, const void* a_at, void* a, const void* b_at, void* b,
        const void* beta, const void* c_at, void* c, void* d_at, void* d, const void* algorithm, void* workspace,
        std::size_t workspace_bytes, void* stream);
}

namespace {

constexpr int compute_f32 = 68;
constexpr int type_f32 = 0;
constexpr int type_bf16 = 14;
constexpr int result_bytes = 96;
constexpr int invalid_value = 7;

void* handle;

void* pointer(CUdeviceptr address) {
    return reinterpret_cast<void*>(address);
}

/** D = 0.5 · op(A) · op(B) + 2 · D + bias against sums in double, by every algorithm. */
void product(int m, int n, int k, bool ta, bool tb, bool bf16_result, bool with_bias) {
    const int pad = 3;
    const int a_rows = ta ? k : m, a_cols = ta ? m : k, b_rows = tb ? n : k, b_cols = tb ? k : n;
    const int lda = a_rows + pad, ldb = b_rows + pad, ldd = m + pad;
    const auto a = numbers(static_cast<std::size_t>(lda * a_cols), 11);
    const auto b = numbers(static_cast<std::size_t>(ldb * b_cols), 12);
    const auto d16 = numbers(static_cast<std::size_t>(ldd * n), 13);
    const auto bias16 = numbers(static_cast<std::size_t>(m), 14);
    const auto as_f32 = [](const std::vector<uint16_t>& values) {
        std::vector<float> result;
        for (uint16_t value : values) {
            result.push_back(static_cast<float>(value_of(value)));
        }
        return result;
    };
    Buffer<uint16_t> da(a), db(b), dd16(d16), dbias16(bias16);
    Buffer<float> dd32(as_f32(d16)), dbias32(as_f32(bias16)), workspace(std::vector<float>(200000, 0.f));
    void *desc, *la, *lb, *ld, *preference;
    ok(cublasLtMatmulDescCreate(&desc, compute_f32, type_f32), "desc");
    const int type_d = bf16_result ? type_bf16 : type_f32;
    ok(cublasLtMatrixLayoutCreate(&la, type_bf16, static_cast<uint64_t>(a_rows), static_cast<uint64_t>(a_cols), lda),
            "layout");
    ok(cublasLtMatrixLayoutCreate(&lb, type_bf16, static_cast<uint64_t>(b_rows), static_cast<uint64_t>(b_cols), ldb),
            "layout");
    ok(cublasLtMatrixLayoutCreate(&ld, type_d, static_cast<uint64_t>(m), static_cast<uint64_t>(n), ldd), "layout");
    ok(cublasLtMatmulPreferenceCreate(&preference), "preference");
    const int transposed_a = ta, transposed_b = tb;
    ok(cublasLtMatmulDescSetAttribute(desc, 3, &transposed_a, 4), "transposed A");
    ok(cublasLtMatmulDescSetAttribute(desc, 4, &transposed_b, 4), "transposed B");
    if (with_bias) {
        const int epilogue = 4;
        const CUdeviceptr bias = bf16_result ? dbias16.address : dbias32.address;
        ok(cublasLtMatmulDescSetAttribute(desc, 7, &epilogue, 4), "epilogue");
        ok(cublasLtMatmulDescSetAttribute(desc, 8, &bias, 8), "bias");
    }
    const uint64_t workspace_bytes = 800000;
    ok(cublasLtMatmulPreferenceSetAttribute(preference, 1, &workspace_bytes, 8), "workspace");
    char results[8 * result_bytes];
    int count = 0;
    ok(cublasLtMatmulAlgoGetHeuristic(handle, desc, la, lb, ld, ld, preference, 8, results, &count), "heuristic");
    expect(count == (k >= 2 ? 3 : 1), "number of algorithms");

    std::vector<double> expected = {};
    for (int column = 0; column < n; column++) {
        for (int row = 0; row < m; row++) {
            double sum = 0;
            for (int l = 0; l < k; l++) {
                sum += value_of(a[static_cast<std::size_t>(ta ? row * lda + l : l * lda + row)])
                        * value_of(b[static_cast<std::size_t>(tb ? l * ldb + column : column * ldb + l)]);
            }
            expected.push_back(0.5 * sum + 2 * value_of(d16[static_cast<std::size_t>(column * ldd + row)])
                    + (with_bias ? value_of(bias16[static_cast<std::size_t>(row)]) : 0));
        }
    }
    const float alpha = 0.5f, beta = 2.f;
    for (int algorithm = 0; algorithm < count; algorithm++) {
        Buffer<uint16_t> result16(d16);
        Buffer<float> result32(as_f32(d16));
        void* const d = pointer(bf16_result ? result16.address : result32.address);
        ok(cublasLtMatmul(handle, desc, &alpha, pointer(da.address), la, pointer(db.address), lb, &beta, d, ld, d, ld,
                   results + algorithm * result_bytes, pointer(workspace.address), workspace_bytes, stream),
                "cublasLtMatmul");
        const std::vector<float> got = bf16_result ? as_f32(result16.read()) : result32.read();
        for (int column = 0; column < n; column++) {
            for (int row = 0; row < m + pad && column < n; row++) {
                const double value = got[static_cast<std::size_t>(column * ldd + row)];
                if (row >= m) {
                    expect(value == value_of(d16[static_cast<std::size_t>(column * ldd + row)]), "pads stay");
                    continue;
                }
                const double want = expected[static_cast<std::size_t>(column * m + row)];
                const double tolerance = bf16_result ? 0.005 * std::fabs(want) + 1e-5 : 1e-5 * (1 + std::fabs(want));
                if (!(std::fabs(value - want) <= tolerance)) {
                    fail("product of " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + ": "
                            + std::to_string(value) + ", expected " + std::to_string(want));
                    return;
                }
            }
        }
    }
    const void* const past = pointer(da.address + a.size() * 2);
    void* const d = pointer(bf16_result ? dd16.address : dd32.address);
    expect_code(invalid_value,
            cublasLtMatmul(handle, desc, &alpha, pointer(da.address + 1), la, pointer(db.address), lb, &beta, d, ld, d,
                    ld, results, nullptr, 0, stream),
            "an odd address");
    ok(cublasLtMatmul(handle, desc, &alpha, past, la, pointer(db.address), lb, &beta, d, ld, d, ld, results, nullptr, 0,
               stream),
            "a matrix past its allocation is not seen at once");
    expect_code(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(stream), "a matrix past its allocation");
    jlora_emulator_restore_device();
    for (void* layout : {la, lb, ld}) {
        ok(cublasLtMatrixLayoutDestroy(layout), "destroy layout");
    }
    ok(cublasLtMatmulPreferenceDestroy(preference), "destroy preference");
    ok(cublasLtMatmulDescDestroy(desc), "destroy desc");
}

}  // namespace

void test_products() {
    ok(cublasLtCreate(&handle), "cublasLtCreate");
    for (const bool ta : {false, true}) {
        for (const bool tb : {false, true}) {
            product(33, 7, 19, ta, tb, false, false);
            product(5, 65, 130, ta, tb, true, true);
        }
    }
    product(1, 1, 1, true, false, false, true);
    ok(cublasLtDestroy(handle), "cublasLtDestroy");
}
