// The state of the stand-in driver: one device, one context, everything behind one lock.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cuda_abi.h"
#include "kernel.h"

/** Work in a stream or a graph: what it does when its turn comes. */
struct Operation {
    std::string name;
    std::function<CUresult()> run;
};

/** A capture in progress; streams that joined it by events share it. */
struct Capture {
    CUstream origin;
    CUstreamCaptureMode mode;
    std::thread::id thread;
    bool invalidated = false;
    std::vector<Operation> operations;
};

struct CUctx_st {
    int retained = 0;
};

/** One recording of an event. */
struct Recording {
    CUstream stream;
    bool done = false;
    /** A query said that it is not done. */
    bool asked = false;
    std::chrono::steady_clock::time_point time;
};

struct CUstream_st {
    unsigned flags = 0;
    /** Work that was handed in and that nobody has waited for yet. */
    std::deque<Operation> queue;
    std::shared_ptr<Capture> capture;
    /** Work of a stream that joined a capture and that the origin does not wait for yet. */
    bool unjoined = false;
};

struct CUevent_st {
    unsigned flags = 0;
    std::shared_ptr<Recording> recording;
    std::shared_ptr<Capture> capture;
    CUstream captured_in = nullptr;
};

struct CUfunc_st {
    /** One for each worker's copy of the library. */
    std::vector<const emulator::Kernel*> kernels;
    std::vector<const emulator::KernelLibrary*> libraries;
    int max_dynamic_shared = 0;
};

struct CUmod_st {
    std::map<std::string, std::unique_ptr<CUfunc_st>> functions;
};

struct CUgraph_st {
    std::vector<Operation> operations;
};

struct CUgraphExec_st {
    std::vector<Operation> operations;
};

namespace emulator {

/** OS threads that run blocks, each with its own copy of the kernel libraries (build-emulator.sh makes them). */
constexpr int workers = 2;
constexpr int default_dynamic_shared = 48 << 10;
constexpr int most_dynamic_shared = 227 << 10;
constexpr int driver_version = 13000;

/** Who a call needs. */
enum class Needs { NOTHING, INITIALIZED, CONTEXT };

struct Driver {
    std::recursive_mutex lock;
    bool initialized = false;
    CUctx_st context;
    /** The error that every call gives once the device is lost; and why it was. */
    CUresult lost = CUDA_SUCCESS;
    std::string fault;

    std::set<CUstream> streams;
    std::set<CUevent> events;
    std::set<CUmodule> modules;
    std::set<CUgraph> graphs;
    std::set<CUgraphExec> executables;
    std::set<Capture*> captures;
    long launches = 0;

    static Driver& instance();

    /** Runs the body of a call: counts it, fails it where a test asks for that, checks what it needs. */
    CUresult call(const char* name, Needs needs, const std::function<CUresult()>& body);

    /**
     * Hands an operation to a stream, or to the graph that the stream is being captured into. It runs when
     * somebody waits for it: whoever forgets to wait, or changes memory that it is still to read, finds out.
     */
    CUresult submit(CUstream stream, const char* name, std::function<CUresult()> run);

    /** Runs what a stream holds; until a recording is done, if one is given. */
    CUresult finish(CUstream stream, const Recording* until = nullptr);

    CUresult finish_all();

    /** For calls that a capture does not allow: invalidates those that this thread must respect. */
    CUresult refuse_during_capture();

    /** Also for a wait, which a stream under capture never allows. */
    CUresult refuse_if_capturing(CUstream stream);

    CUresult lose(CUresult code, const std::string& why);

    bool knows(CUstream stream) const {
        return stream == nullptr || streams.count(stream) != 0;
    }
};

/** The calling thread's current context. */
CUcontext& current_context();

// memory.cpp

/** Whether all bytes lie within one live allocation; if not, says what is wrong. */
bool inside_allocation(CUdeviceptr from, std::size_t bytes, std::string* why);
void memory_use(std::size_t* bytes, std::size_t* total);
long live_allocations();
/** Of an allocation whose guards were overwritten; empty when all are whole. */
std::string broken_guards();

// launch.cpp

/** Runs a kernel over its whole grid; false and the reason when a block fails. */
bool run_kernel(const CUfunc_st& function, Launch launch, std::string* why);

// modules.cpp

/** Loads the kernel libraries beside this one, once. */
const std::vector<std::vector<const KernelLibrary*>>& kernel_libraries();

// controls.cpp

struct Controls {
    bool reversed = false;

    /** Counts the call; the code to fail it with, or success. */
    CUresult enter(const char* name);

    static Controls& instance();
};

long long environment(const char* name, long long otherwise);

}  // namespace emulator
