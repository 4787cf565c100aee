// Holds the emulator against what a GPU does, through the driver's own calls. Prints what fails; the exit
// status is the number of failures. With an argument: does one thing that the address sanitizer must find.

#include <cmath>
#include <cstdio>

#include "selftest.h"

int failures = 0;
CUstream stream;

void fail(const std::string& what) {
    std::printf("FAILED: %s\n", what.c_str());
    failures++;
}

void expect(bool condition, const char* what) {
    if (!condition) {
        fail(what);
    }
}

void expect_code(int expected, int actual, const char* what) {
    if (expected != actual) {
        fail(std::string(what) + ": status " + std::to_string(actual) + ", expected " + std::to_string(expected));
    }
}

void ok(int code, const char* what) {
    expect_code(CUDA_SUCCESS, code, what);
}

uint16_t bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

double value_of(uint16_t value) {
    const uint32_t bits = static_cast<uint32_t>(value) << 16;
    float result;
    std::memcpy(&result, &bits, 4);
    return result;
}

std::vector<uint16_t> numbers(std::size_t count, unsigned seed) {
    std::vector<uint16_t> values(count);
    for (auto& value : values) {
        seed = seed * 1664525u + 1013904223u;
        value = bf16(static_cast<float>(seed >> 16) / 32768.f - 1.f);
    }
    return values;
}

namespace {

CUmodule module;

struct Size {
    unsigned x, y = 1, z = 1;
};

template <class... Arguments>
CUresult launch(const char* name, Size grid, Size block, unsigned dynamic_bytes, Arguments... arguments) {
    CUfunction function = nullptr;
    ok(cuModuleGetFunction(&function, module, name), name);
    void* parameters[] = {&arguments..., nullptr};
    return cuLaunchKernel(function, grid.x, grid.y, grid.z, block.x, block.y, block.z, dynamic_bytes, stream,
            parameters, nullptr);
}

std::string last_fault() {
    char text[2048];
    jlora_emulator_last_fault(text, sizeof text);
    return text;
}

/** A launch that must fail with a message that holds some words; the device works again afterwards. */
template <class... Arguments>
void expect_fault(const char* words, const char* name, Size grid, Size block, unsigned dynamic_bytes,
        Arguments... arguments) {
    ok(launch(name, grid, block, dynamic_bytes, arguments...), name);
    const CUresult code = cuStreamSynchronize(stream);
    if (code == CUDA_SUCCESS) {
        fail(std::string(name) + " did not fail");
    } else if (last_fault().find(words) == std::string::npos) {
        fail(std::string(name) + ": the fault is '" + last_fault() + "', expected '" + words + "'");
    }
    expect_code(code, cuStreamSynchronize(stream), "the error stays");
    jlora_emulator_restore_device();
}

void sums() {
    const int rows = 37, cols = 301;
    std::vector<float> x(static_cast<std::size_t>(rows * cols));
    for (std::size_t i = 0; i < x.size(); i++) {
        x[i] = static_cast<float>(i % 17) - 8.f;
    }
    Buffer<float> in(x), out(std::vector<float>(rows, 0.f));
    ok(launch("selftest_row_sum_f32", {rows}, {256}, 0, out.address, in.address, cols), "row sum");
    const std::vector<float> sums = out.read();
    for (int row = 0; row < rows; row++) {
        float expected = 0;
        for (int i = 0; i < cols; i++) {
            expected += x[static_cast<std::size_t>(row * cols + i)];
        }
        expect(sums[static_cast<std::size_t>(row)] == expected, "row sum of f32");
    }
    const auto y = numbers(1000, 3);
    Buffer<uint16_t> in16(y);
    ok(launch("selftest_row_sum_bf16", {1}, {64}, 0, out.address, in16.address, 1000), "row sum");
    double expected = 0;
    for (uint16_t value : y) {
        expected += value_of(value);
    }
    expect(std::fabs(out.read()[0] - expected) < 1e-4, "row sum of bf16");
}

void warp() {
    Buffer<int> out(std::vector<int>(32 * 8, 0));
    ok(launch("selftest_warp", {1}, {32}, 0, out.address), "selftest_warp");
    const std::vector<int> got = out.read();
    unsigned ballot = 0;
    for (int lane = 0; lane < 32; lane++) {
        ballot |= static_cast<unsigned>(lane % 3 == 0) << lane;
    }
    for (int lane = 0; lane < 32; lane++) {
        const int* const row = &got[static_cast<std::size_t>(lane) * 8];
        expect(row[0] == (lane ^ 5), "__shfl_xor_sync");
        expect(row[1] == (lane % 8 + 3 < 8 ? lane + 3 : lane), "__shfl_down_sync of width 8");
        expect(row[2] == (lane < 2 ? lane : lane - 2), "__shfl_up_sync");
        expect(row[3] == (lane + 1) % 32, "__shfl_sync");
        expect(static_cast<unsigned>(row[4]) == ballot, "__ballot_sync");
        expect(row[5] == 1, "__any_sync and __all_sync");
        expect(row[6] == (lane < 16 ? 30 : 200), "shuffles of two half warps");
        expect(row[7] == 31 * 16, "warp_sum");
    }
}

void tensor_cores() {
    const auto a = numbers(16 * 16, 1), b = numbers(16 * 8, 2);
    std::vector<uint16_t> transposed(b.size());
    for (std::size_t k = 0; k < 16; k++) {
        for (std::size_t n = 0; n < 8; n++) {
            transposed[n * 16 + k] = b[k * 8 + n];
        }
    }
    Buffer<uint16_t> da(a), db(b), dt(transposed);
    Buffer<float> d(std::vector<float>(256, 0.f));
    ok(launch("selftest_mma", {1}, {32}, 0, d.address, da.address, dt.address, db.address), "selftest_mma");
    const auto got = d.read();
    for (std::size_t row = 0; row < 16; row++) {
        for (std::size_t column = 0; column < 8; column++) {
            double sum = 0;
            for (std::size_t k = 0; k < 16; k++) {
                sum += value_of(a[row * 16 + k]) * value_of(b[k * 8 + column]);
            }
            expect(std::fabs(got[row * 8 + column] - sum) < 1e-5, "mma.sync by ldmatrix");
            expect(std::fabs(got[128 + row * 8 + column] - sum) < 1e-5, "mma.sync by ldmatrix, transposed");
        }
    }
}

void asynchronous_copies() {
    Buffer<float> in({1.f, 2.f, 3.f, 4.f}), out(std::vector<float>(8, 0.f));
    ok(launch("selftest_cp_async", {1}, {1}, 0, out.address, in.address, 1), "cp.async");
    expect(out.read() == std::vector<float>({1.f, 2.f, 3.f, 4.f, 0.f, 0.f, 0.f, 0.f}), "cp.async with a wait");
    ok(launch("selftest_cp_async", {1}, {1}, 0, out.address, in.address, 0), "cp.async");
    expect(std::isnan(out.read()[0]), "cp.async without a wait shows");
}

void barriers() {
    Buffer<int> out(std::vector<int>(1024, 0));
    expect_fault("selftest_divergent, block (0,0,0)", "selftest_divergent", {1}, {64}, 0, out.address);
    expect_fault("thread (40,0,0) has ended", "selftest_divergent", {1}, {64}, 0, out.address);
    expect_fault("thread (0,0,0) waits in __shfl_sync with mask ffffffff; thread (8,0,0) waits at __syncthreads",
            "selftest_half_warp", {1}, {32}, 0, out.address);
    for (int reversed : {0, 1}) {
        jlora_emulator_set_reversed(reversed);
        for (int with_barrier : {0, 1}) {
            ok(launch("selftest_neighbour", {1}, {96}, 96 * 4, out.address, with_barrier), "neighbour");
            const std::vector<int> got = out.read();
            bool right = true;
            for (int i = 0; i < 96; i++) {
                right &= got[static_cast<std::size_t>(i)] == (i + 1) % 96;
            }
            expect(right == (with_barrier == 1), "a missing barrier shows, and only that");
        }
    }
    jlora_emulator_set_reversed(0);
}

void shared_memory() {
    const std::size_t blocks = 64;
    Buffer<int> out(std::vector<int>(2 * blocks, 0));
    ok(launch("selftest_fresh_shared", {blocks}, {1}, 64, out.address), "selftest_fresh_shared");
    for (int word : out.read()) {
        expect(word == -1 || word == 0x4b4b4b4b, "shared memory is poisoned before every block");
    }
#ifndef __SANITIZE_ADDRESS__
    expect_fault("wrote past its 64 bytes of dynamic shared memory, at byte 64", "selftest_past_shared", {1}, {1},
            64, out.address, 16);
#endif
    expect_fault("index 8 is outside", "selftest_past_static_shared", {1}, {1}, 0, out.address, 8);
    expect_code(CUDA_ERROR_INVALID_VALUE,
            launch("selftest_past_shared", {1}, {1}, 64 << 10, out.address, 0), "64 KB without asking");
    CUfunction function;
    ok(cuModuleGetFunction(&function, module, "selftest_past_shared"), "get function");
    expect_code(CUDA_ERROR_INVALID_VALUE, cuFuncSetAttribute(function, 8, 228 << 10), "228 KB");
    ok(cuFuncSetAttribute(function, 8, 64 << 10), "64 KB");
    ok(launch("selftest_past_shared", {1}, {1}, 64 << 10, out.address, 0), "64 KB after asking");
    ok(cuFuncSetAttribute(function, 8, 48 << 10), "48 KB");
}

void addresses() {
    Buffer<float> out(std::vector<float>(16, 0.f));
    expect_fault("is not aligned", "selftest_store_vector", {1}, {1}, 0, out.address + 4);
    ok(launch("selftest_store_vector", {1}, {1}, 0, out.address + 16), "aligned");
    expect(out.read()[7] == 4.f, "store of 16 bytes");
    expect_fault("thread (0,0,0): illegal address", "selftest_store", {1}, {1}, 0, CUdeviceptr{16}, 0LL, 1);
    std::vector<float> host(64);
    expect_code(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemcpyDtoHAsync_v2(host.data(), out.address, 65, stream),
            "a copy from past an allocation");
    expect_code(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemsetD8Async(out.address, 0, 1, stream), "the error stays");
    jlora_emulator_restore_device();
#ifndef __SANITIZE_ADDRESS__
    char message[256];
    jlora_emulator_check_guards(message, sizeof message);
    expect(message[0] == 0, "guards are whole");
    ok(launch("selftest_store", {1}, {1}, 0, out.address, 16LL, 1), "write past an allocation");
    jlora_emulator_check_guards(message, sizeof message);
    expect(std::string(message).find("byte 64 relative to a device allocation of 64 bytes") == 0, message);
    const int guard = static_cast<int>(0xa5a5a5a5);
    ok(launch("selftest_store", {1}, {1}, 0, out.address, 16LL, guard), "put the guard back");
#endif
}

void launches() {
    Buffer<unsigned> counter({0u});
    ok(launch("selftest_count", {101, 3, 2}, {33}, 0, counter.address), "count");
    expect(counter.read()[0] == 101 * 3 * 2 * 33, "integer atomics over all blocks");
    Buffer<double> sum({0.});
    ok(launch("selftest_parameters", {1}, {1}, 0, static_cast<signed char>(-1), 0.5, short{300}, 0.25f, 1LL << 40,
               static_cast<unsigned char>(200), sum.address),
            "parameters");
    expect(sum.read()[0] == -1 + 0.5 + 300 + 0.25 + std::ldexp(1., 40) + 200, "parameters of all sizes");
    CUfunction function;
    ok(cuModuleGetFunction(&function, module, "selftest_parameters"), "get function");
    const std::size_t expected[][2] = {{0, 1}, {8, 8}, {16, 2}, {20, 4}, {24, 8}, {32, 1}, {40, 8}};
    for (std::size_t i = 0; i < 7; i++) {
        std::size_t offset, bytes;
        ok(cuFuncGetParamInfo(function, i, &offset, &bytes), "parameter");
        expect(offset == expected[i][0] && bytes == expected[i][1], "offset and size of a parameter");
    }
    std::size_t offset, bytes;
    expect_code(CUDA_ERROR_INVALID_VALUE, cuFuncGetParamInfo(function, 7, &offset, &bytes), "past the last");
    expect_code(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&function, module, "selftest_absent"), "no such kernel");
    expect_code(CUDA_ERROR_INVALID_VALUE, launch("selftest_count", {1}, {1025}, 0, counter.address), "1025 threads");
    expect_code(CUDA_ERROR_INVALID_VALUE, launch("selftest_count", {0}, {1}, 0, counter.address), "no block");
    expect_code(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
            launch("selftest_row_sum_f32", {1}, {512}, 0, CUdeviceptr{0}, CUdeviceptr{0}, 0),
            "more threads than launch bounds");
    Buffer<int> out(std::vector<int>(2 * 3 * 2 * 60, -1));
    ok(launch("selftest_indices", {2, 3, 2}, {5, 4, 3}, 0, out.address), "indices");
    const auto got = out.read();
    for (std::size_t i = 0; i < got.size(); i++) {
        expect(got[i] == static_cast<int>(i / 60 * 1000 + i % 60), "indices in three dimensions");
    }
}

void capture() {
    Buffer<int> target(std::vector<int>(4, 0));
    std::vector<int> host = {5, 6, 7, 8};
    CUgraph graph = nullptr;
    CUgraphExec executable = nullptr;
    CUstream other;
    CUevent fork, join;
    ok(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING), "other stream");
    ok(cuEventCreate(&fork, 0), "event");
    ok(cuEventCreate(&join, 0), "event");

    ok(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "begin");
    ok(cuMemcpyHtoDAsync_v2(target.address, host.data(), 16, stream), "copy under capture");
    ok(launch("selftest_store", {1}, {1}, 0, target.address, 1LL, 60), "launch under capture");
    ok(cuEventRecord(fork, stream), "fork");
    ok(cuStreamWaitEvent(other, fork, 0), "fork");
    ok(cuMemsetD8Async(target.address + 8, 0, 4, other), "memset in the other stream");
    ok(cuEventRecord(join, other), "join");
    ok(cuStreamWaitEvent(stream, join, 0), "join");
    ok(cuStreamEndCapture(stream, &graph), "end");
    std::size_t nodes = 0;
    ok(cuGraphGetNodes(graph, nullptr, &nodes), "nodes");
    expect(nodes == 3, "three nodes");
    expect(target.read() == std::vector<int>(4, 0), "captured work does not run");
    ok(cuGraphInstantiateWithFlags(&executable, graph, 0), "instantiate");
    ok(cuGraphDestroy(graph), "destroy graph");
    ok(cuGraphLaunch(executable, stream), "graph launch");
    expect(target.read() == std::vector<int>({5, 60, 0, 8}), "the graph runs");
    host[3] = 9;
    ok(cuGraphLaunch(executable, stream), "graph launch");
    expect(target.read() == std::vector<int>({5, 60, 0, 9}), "copies read what the host has now");
    ok(cuGraphExecDestroy(executable), "destroy executable");
    expect_code(CUDA_ERROR_INVALID_VALUE, cuGraphLaunch(executable, stream), "launch of what is destroyed");

    const auto refused = [&](CUresult code, CUresult expected, const char* what) {
        expect_code(expected, code, what);
        expect_code(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, &graph), what);
    };
    CUdeviceptr address;
    ok(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "begin");
    refused(cuStreamSynchronize(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "synchronize under capture");
    ok(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "begin");
    refused(cuMemAlloc_v2(&address, 16), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "allocation under capture");
    ok(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "begin");
    refused(cuMemFree_v2(target.address), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "free under capture");
    ok(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "begin");
    ok(cuEventRecord(fork, stream), "event under capture");
    refused(cuEventQuery(fork), CUDA_ERROR_CAPTURED_EVENT, "query of a captured event");
    ok(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "begin");
    ok(cuEventRecord(fork, stream), "fork");
    ok(cuStreamWaitEvent(other, fork, 0), "fork");
    ok(cuMemsetD8Async(target.address, 0, 4, other), "memset in the other stream");
    expect_code(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, cuStreamEndCapture(stream, &graph), "work that nobody joined");

    ok(cuEventDestroy_v2(fork), "destroy event");
    ok(cuEventDestroy_v2(join), "destroy event");
    ok(cuStreamDestroy_v2(other), "destroy stream");
    expect_code(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize(other), "a stream that is gone");
}

void order() {
    const std::vector<int> zeros(4, 0);
    Buffer<int> target(zeros);
    int* pinned;
    ok(cuMemHostAlloc(reinterpret_cast<void**>(&pinned), 16, 0), "cuMemHostAlloc");
    CUstream other;
    CUevent event;
    ok(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING), "other stream");
    ok(cuEventCreate(&event, 0), "event");
    pinned[0] = 1;
    ok(cuMemcpyHtoDAsync_v2(target.address, pinned, 4, stream), "copy");
    pinned[0] = 2;
    expect(target.read()[0] == 2, "pinned memory that is overwritten too early shows");
    ok(cuMemcpyDtoHAsync_v2(pinned + 1, target.address, 4, stream), "copy");
    expect(pinned[1] != 2, "a result that is read too early shows");
    expect_code(CUDA_SUCCESS, cuStreamSynchronize(stream), "synchronize");
    expect(pinned[1] == 2, "and is there after a wait");

    pinned[0] = 3;
    ok(cuMemcpyHtoDAsync_v2(target.address, pinned, 4, stream), "copy");
    ok(cuEventRecord(event, stream), "record");
    expect_code(CUDA_ERROR_NOT_READY, cuEventQuery(event), "not done yet");
    ok(cuEventQuery(event), "done");
    pinned[0] = 4;
    ok(cuMemcpyHtoDAsync_v2(target.address, pinned, 4, stream), "copy");
    ok(cuMemcpyDtoHAsync_v2(pinned + 1, target.address, 4, other), "copy in another stream");
    ok(cuStreamSynchronize(other), "synchronize");
    expect(pinned[1] == 3, "streams do not wait for each other");
    ok(cuEventRecord(event, stream), "record");
    ok(cuStreamWaitEvent(other, event, 0), "wait");
    ok(cuMemcpyDtoHAsync_v2(pinned + 1, target.address, 4, other), "copy in another stream");
    ok(cuStreamSynchronize(other), "synchronize");
    expect(pinned[1] == 4, "but for an event");

    ok(cuEventDestroy_v2(event), "destroy event");
    ok(cuStreamDestroy_v2(other), "destroy stream");
    ok(cuMemFreeHost(pinned), "cuMemFreeHost");
}

void rows() {
    Buffer<int> target(std::vector<int>(12, 0));
    const int host[] = {1, 2, 3, 4};
    CUDA_MEMCPY2D copy{};
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = host;
    copy.srcPitch = 8;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = target.address + 4;
    copy.dstPitch = 24;
    copy.WidthInBytes = 8;
    copy.Height = 2;
    ok(cuMemcpy2DAsync_v2(&copy, stream), "cuMemcpy2DAsync");
    expect(target.read() == std::vector<int>({0, 1, 2, 0, 0, 0, 0, 3, 4, 0, 0, 0}), "copy of rows");
    copy.dstPitch = 4;
    expect_code(CUDA_ERROR_INVALID_VALUE, cuMemcpy2DAsync_v2(&copy, stream), "rows wider than their pitch");
}

void failures_on_demand() {
    CUdeviceptr address;
    jlora_emulator_fail("cuMemAlloc", 2, CUDA_ERROR_OUT_OF_MEMORY);
    ok(cuMemAlloc_v2(&address, 16), "the first call");
    ok(cuMemFree_v2(address), "another call");
    expect_code(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&address, 16), "the second call");
    jlora_emulator_fail("", 1, CUDA_ERROR_UNKNOWN);
    expect_code(CUDA_ERROR_UNKNOWN, cuStreamSynchronize(stream), "any call");
    ok(cuStreamSynchronize(stream), "once");
    jlora_emulator_lose_device(CUDA_ERROR_ECC_UNCORRECTABLE);
    expect_code(CUDA_ERROR_ECC_UNCORRECTABLE, cuStreamSynchronize(stream), "lost");
    expect_code(CUDA_ERROR_ECC_UNCORRECTABLE, cuMemAlloc_v2(&address, 16), "lost");
    jlora_emulator_restore_device();
    expect_code(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&address, 3ull << 30), "more than the device has");
    expect_code(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(12345), "not an allocation");
}

/** Bad accesses that only the address sanitizer sees; it ends the process. */
void overrun(const std::string& what) {
    Buffer<int> out(std::vector<int>(16, 0));
    if (what == "global") {
        launch("selftest_store", {1}, {1}, 0, out.address, 16LL, 1);
    } else if (what == "freed") {
        CUdeviceptr freed;
        cuMemAlloc_v2(&freed, 64);
        cuMemFree_v2(freed);
        launch("selftest_store", {1}, {1}, 0, freed, 3LL, 1);
    } else if (what == "shared") {
        launch("selftest_past_shared", {1}, {1}, 64, out.address, 16);
    }
    cuStreamSynchronize(stream);
}

}  // namespace

int main(int argc, char** argv) {
    CUcontext context;
    expect_code(CUDA_ERROR_NOT_INITIALIZED, cuDevicePrimaryCtxRetain(&context, 0), "before cuInit");
    ok(cuInit(0), "cuInit");
    ok(cuDevicePrimaryCtxRetain(&context, 0), "cuDevicePrimaryCtxRetain");
    expect_code(CUDA_ERROR_INVALID_CONTEXT, cuStreamCreate(&stream, 0), "without a current context");
    ok(cuCtxSetCurrent(context), "cuCtxSetCurrent");
    ok(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
    ok(cuModuleLoadData(&module, "image"), "cuModuleLoadData");
    if (argc > 1) {
        overrun(argv[1]);
        return failures;
    }

    sums();
    warp();
    tensor_cores();
    asynchronous_copies();
    barriers();
    shared_memory();
    addresses();
    launches();
    capture();
    order();
    rows();
    failures_on_demand();
    test_products();

    ok(cuModuleUnload(module), "cuModuleUnload");
    ok(cuStreamDestroy_v2(stream), "cuStreamDestroy");
    ok(cuDevicePrimaryCtxRelease_v2(0), "cuDevicePrimaryCtxRelease");
    expect(jlora_emulator_live_allocations() + jlora_emulator_live_streams() + jlora_emulator_live_events()
                    + jlora_emulator_live_modules() + jlora_emulator_live_graphs() + jlora_emulator_live_contexts()
                    + jlora_emulator_live_objects()
                    == 0,
            "nothing is left");
    std::printf("%d failures\n", failures);
    return failures;
}
