// The driver's calls, and how the tests of the emulator say what they expect.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "controls.h"
#include "cuda_abi.h"

extern "C" {
CUresult cuInit(unsigned flags);
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device);
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device);
CUresult cuCtxSetCurrent(CUcontext context);
CUresult cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes);
CUresult cuMemFree_v2(CUdeviceptr address);
CUresult cuMemHostAlloc(void** address, std::size_t bytes, unsigned flags);
CUresult cuMemFreeHost(void* address);
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream);
CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream);
CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* copy, CUstream stream);
CUresult cuMemsetD8Async(CUdeviceptr address, unsigned char value, std::size_t count, CUstream stream);
CUresult cuStreamCreate(CUstream* stream, unsigned flags);
CUresult cuStreamDestroy_v2(CUstream stream);
CUresult cuStreamSynchronize(CUstream stream);
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags);
CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode);
CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph);
CUresult cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph, unsigned long long flags);
CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream);
CUresult cuGraphGetNodes(CUgraph graph, void** nodes, std::size_t* count);
CUresult cuGraphExecDestroy(CUgraphExec executable);
CUresult cuGraphDestroy(CUgraph graph);
CUresult cuEventCreate(CUevent* event, unsigned flags);
CUresult cuEventDestroy_v2(CUevent event);
CUresult cuEventRecord(CUevent event, CUstream stream);
CUresult cuEventQuery(CUevent event);
CUresult cuModuleLoadData(CUmodule* module, const void* image);
CUresult cuModuleUnload(CUmodule module);
CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name);
CUresult cuFuncGetParamInfo(CUfunction function, std::size_t index, std::size_t* offset, std::size_t* bytes);
CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value);
CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
        unsigned block_y, unsigned block_z, unsigned dynamic_bytes, CUstream stream, void** parameters,
        void** extra);
}

extern int failures;
extern CUstream stream;

void fail(const std::string& what);
void expect(bool condition, const char* what);
void expect_code(int expected, int actual, const char* what);
void ok(int code, const char* what);

uint16_t bf16(float value);
double value_of(uint16_t value);

/** Small bf16 numbers without a pattern. */
std::vector<uint16_t> numbers(std::size_t count, unsigned seed);

/** Device memory with the values of a vector. */
template <class T>
class Buffer {
public:
    explicit Buffer(const std::vector<T>& values) : count(values.size()) {
        ok(cuMemAlloc_v2(&address, count * sizeof(T)), "cuMemAlloc");
        ok(cuMemcpyHtoDAsync_v2(address, values.data(), count * sizeof(T), stream), "upload");
    }

    Buffer(const Buffer&) = delete;

    ~Buffer() {
        ok(cuMemFree_v2(address), "cuMemFree");
    }

    std::vector<T> read() const {
        std::vector<T> values(count);
        ok(cuMemcpyDtoHAsync_v2(values.data(), address, count * sizeof(T), stream), "download");
        ok(cuStreamSynchronize(stream), "synchronize");
        return values;
    }

    CUdeviceptr address = 0;

private:
    std::size_t count;
};

/** Matrix products by the stand-in for cuBLASLt. */
void test_products();
