// How one block of CUDA threads runs on one OS thread: a fiber per CUDA thread, switched by hand at barriers
// and warp collectives. The code is linked into every kernel library (see kernel.h), the state in Worker is
// owned by the stand-in driver, one per OS thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "vector_types.h"

namespace emulator {

constexpr int warp_lanes = 32;

/** Without the closed page below it. */
#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t fiber_stack_bytes = 512 << 10;
#else
constexpr std::size_t fiber_stack_bytes = 128 << 10;
#endif

struct Kernel;

/** What all blocks of a launch have in common. */
struct Launch {
    const Kernel* kernel;
    void** parameters;
    dim3 grid;
    dim3 block;
    std::size_t dynamic_bytes;
    /** Threads start, and go on after a barrier, from the last to the first. */
    bool reversed;
    /** What shared memory holds when a block starts, byte by byte. */
    unsigned char poison;
};

/** A cp.async that was issued and not yet waited for. */
struct PendingCopy {
    void* to;
    const void* from;
    bool valid;
    int group;
};

/** A stack that CUDA threads run on: one at a time, to its end before the next. */
struct Fiber {
    void* saved = nullptr;
    char* stack = nullptr;
    void* sanitizer_stack = nullptr;
    int thread = -1;
    uint3 index{};
    int copy_groups = 0;
    std::vector<PendingCopy> copies;
};

/** One completed warp collective: what each lane sent, and what a combining function gave each of them. */
struct Round {
    static constexpr int sent_words = 6;
    static constexpr int received_words = 4;

    uint32_t present;
    uint32_t unread;
    uint32_t sent[warp_lanes][sent_words];
    uint32_t received[warp_lanes][received_words];
};

/** Combines a collective's words; run once, by the lane that comes last. */
using Combine = void (*)(Round&);

/** A lane in a collective: what it came with, and, once complete, which round it is to read. */
struct Arrival {
    uint32_t mask;
    const char* call;
    Combine combine;
    uint32_t words[Round::sent_words];
    int round;
};

struct Warp {
    /** Lanes that have not ended; that could run now, also those not yet begun; that wait in a collective. */
    uint32_t live, runnable, waiting;
    Arrival arrival[warp_lanes];
    /** A lane has at most one round to read, and whoever completes one has none: there is always one free. */
    uint32_t free_rounds;
    Round rounds[warp_lanes];
};

struct Worker {
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<int> free_fibers;
    std::vector<std::unique_ptr<Warp>> warps;
    /** Of each thread: its fiber, or that it has not begun or has ended. */
    std::vector<int> fiber_of;
    /** The fiber that runs. */
    int current = -1;
    int threads = 0;
    int warps_in_use = 0;
    int ended = 0;
    int at_barrier = 0;
    int barrier_sum = 0;
    int barrier_result = 0;
    void* main_saved = nullptr;
    const void* main_stack = nullptr;
    std::size_t main_stack_bytes = 0;
    void* main_sanitizer_stack = nullptr;
    const Launch* launch = nullptr;
    uint3 block{};
    unsigned char* dynamic = nullptr;
    std::size_t dynamic_bytes = 0;
    bool failed = false;
    /** Set by the signal handler. */
    const void* illegal_address = nullptr;
    char fault[1024] = {};
};

/**
 * Waits for all live lanes of the mask, as the warp collectives do. The result stays valid until the calling
 * thread's next collective or barrier.
 */
const Round& exchange(uint32_t mask, const void* words, std::size_t bytes, const char* call, Combine combine);

/** Waits for every thread of the block; gives the sum of what they brought. */
int barrier(int value);

int lane_index();

/** The block's dynamic shared memory. */
void* dynamic_shared();

Fiber& current_fiber();

/** Ends the launch with a message that names kernel, block and thread. */
[[noreturn]] __attribute__((format(printf, 1, 2))) void fault(const char* format, ...);

/** Where the signal handler lets a thread go on that touched memory which is not there. */
[[noreturn]] void report_illegal_address();

/** Runs one block to its end; false, with the reason in worker.fault, when it cannot. */
bool run_block(Worker& worker, const Launch& launch, uint3 block);

}  // namespace emulator
