#include "block.h"

#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "context_switch.h"
#include "kernel.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// Everything of a kernel library that begins as zeros is shared memory and gets poisoned; this file keeps its
// own variables out of there.
#define KEEP __attribute__((section(".data")))

uint3 threadIdx KEEP = {};
uint3 blockIdx KEEP = {};
dim3 blockDim KEEP = {};
dim3 gridDim KEEP = {};

// From the linker: where the zeros of this library lie.
extern "C" __attribute__((visibility("hidden"))) char __bss_start[];
extern "C" __attribute__((visibility("hidden"))) char _end[];

namespace emulator {

namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t shared_guard_bytes = 64;
constexpr unsigned char shared_guard = 0xa5;
constexpr int not_begun = -1;
constexpr int has_ended = -2;

Worker* worker KEEP = nullptr;

#ifdef __SANITIZE_ADDRESS__
// Byte by byte, since a memset would be checked: the zones between the variables are filled, too.
__attribute__((no_sanitize("address"))) void poison_static_shared(unsigned char value) {
    for (volatile char* at = __bss_start; at < _end; at++) {
        *at = static_cast<char>(value);
    }
}
#else
void poison_static_shared(unsigned char value) {
    std::memset(__bss_start, value, static_cast<std::size_t>(_end - __bss_start));
}
#endif

void fiber_main();

Fiber& running() {
    return *worker->fibers[worker->current];
}

/** A fiber at the start of fiber_main, for a thread that begins. */
int fiber_for(int thread) {
    if (worker->free_fibers.empty()) {
        // The lowest page stays closed: a stack that overflows stops there.
        void* const stack = mmap(
                nullptr, page_bytes + fiber_stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack == MAP_FAILED) {
            fault("no memory for the stack of one more thread");
        }
        mprotect(stack, page_bytes, PROT_NONE);
        worker->free_fibers.push_back(static_cast<int>(worker->fibers.size()));
        worker->fibers.push_back(std::make_unique<Fiber>());
        worker->fibers.back()->stack = static_cast<char*>(stack) + page_bytes;
    }
    const int index = worker->free_fibers.back();
    worker->free_fibers.pop_back();
    Fiber& fiber = *worker->fibers[index];
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(fiber.stack, fiber_stack_bytes);
#endif
    fiber.sanitizer_stack = nullptr;
    fiber.thread = thread;
    fiber.saved = prepare_stack(fiber.stack, fiber_stack_bytes, fiber_main);
    return index;
}

/** Leaves the running fiber for another; returns when somebody switches back. */
void switch_to(int index) {
    const int from_index = worker->current;
    Fiber& from = *worker->fibers[from_index];
    Fiber& to = *worker->fibers[index];
    worker->current = index;
    threadIdx = to.index;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&from.sanitizer_stack, to.stack, fiber_stack_bytes);
#endif
    switch_stack(&from.saved, to.saved);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(from.sanitizer_stack, nullptr, nullptr);
#endif
}

/** Back to run_block, for good: what stands on the fibers' stacks is forgotten. */
[[noreturn]] void leave_block() {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(nullptr, worker->main_stack, worker->main_stack_bytes);
#endif
    switch_stack(&running().saved, worker->main_saved);
    std::abort();
}

uint3 index_of(int thread) {
    const dim3& size = worker->launch->block;
    const auto t = static_cast<unsigned>(thread);
    return {t % size.x, t / size.x % size.y, t / size.x / size.y};
}

/** Takes a thread that can run, of the preferred warp if there is one; -1 if there is none. */
int take_runnable(int preferred_warp) {
    const int warps = static_cast<int>(worker->warps_in_use);
    const int step = worker->launch->reversed ? warps - 1 : 1;
    int index = preferred_warp;
    for (int i = 0; i < warps; i++) {
        Warp& warp = *worker->warps[index];
        if (warp.runnable != 0) {
            const int lane = worker->launch->reversed ? 31 - __builtin_clz(warp.runnable)
                                                      : __builtin_ctz(warp.runnable);
            warp.runnable &= ~(1u << lane);
            return index * warp_lanes + lane;
        }
        index = (index + step) % warps;
    }
    return -1;
}

/** What a thread that cannot run waits for. */
void describe(char* to, std::size_t bytes, int thread) {
    const Warp& warp = *worker->warps[thread / warp_lanes];
    const int lane = thread % warp_lanes;
    if (worker->fiber_of[thread] == has_ended) {
        std::snprintf(to, bytes, "has ended");
    } else if (warp.waiting >> lane & 1) {
        std::snprintf(to, bytes, "waits in %s with mask %08x", warp.arrival[lane].call, warp.arrival[lane].mask);
    } else {
        std::snprintf(to, bytes, "waits at __syncthreads");
    }
}

/** Nobody can run: says where threads stand, once for each neighbourhood that stands at the same place. */
[[noreturn]] void deadlock() {
    char text[700] = {};
    char last[100] = {};
    std::size_t length = 0;
    for (int thread = 0, places = 0; thread < worker->threads && places < 6; thread++) {
        char place[100];
        describe(place, sizeof place, thread);
        if (std::strcmp(place, last) != 0) {
            const uint3 index = index_of(thread);
            const int written = std::snprintf(text + length, sizeof text - length, "%sthread (%u,%u,%u) %s",
                    places == 0 ? "" : "; ", index.x, index.y, index.z, place);
            length += static_cast<std::size_t>(written);
            std::memcpy(last, place, sizeof last);
            places++;
        }
    }
    fault("deadlock: %s", text);
}

/** The running thread waits: others go on until it can, too. */
void wait() {
    const int thread = take_runnable(running().thread / warp_lanes);
    if (thread < 0) {
        deadlock();
    }
    if (worker->fiber_of[thread] == not_begun) {
        worker->fiber_of[thread] = fiber_for(thread);
    }
    if (worker->fiber_of[thread] != worker->current) {
        switch_to(worker->fiber_of[thread]);
    }
}

/** Completes the collective that a waiting lane is in, if all live lanes of its mask wait there as well. */
bool try_complete(Warp& warp, int lane) {
    const Arrival& arrival = warp.arrival[lane];
    const uint32_t needed = arrival.mask & warp.live;
    if ((warp.waiting & needed) != needed) {
        return false;
    }
    for (uint32_t left = needed; left != 0; left &= left - 1) {
        const Arrival& other = warp.arrival[__builtin_ctz(left)];
        if (other.mask != arrival.mask || other.combine != arrival.combine || other.call != arrival.call) {
            return false;
        }
    }
    const int index = __builtin_ctz(warp.free_rounds);
    warp.free_rounds &= ~(1u << index);
    Round& round = warp.rounds[index];
    round.present = needed;
    round.unread = needed;
    for (uint32_t left = needed; left != 0; left &= left - 1) {
        const int from = __builtin_ctz(left);
        std::memcpy(round.sent[from], warp.arrival[from].words, sizeof round.sent[from]);
        warp.arrival[from].round = index;
    }
    if (arrival.combine != nullptr) {
        arrival.combine(round);
    }
    warp.waiting &= ~needed;
    warp.runnable |= needed;
    return true;
}

void begin_thread(int thread) {
    Fiber& fiber = running();
    fiber.thread = thread;
    fiber.index = index_of(thread);
    fiber.copy_groups = 0;
    fiber.copies.clear();
    worker->fiber_of[thread] = worker->current;
    threadIdx = fiber.index;
}

void end_thread(int thread) {
    Warp& warp = *worker->warps[thread / warp_lanes];
    warp.live &= ~(1u << thread % warp_lanes);
    worker->fiber_of[thread] = has_ended;
    worker->ended++;
    // A collective does not wait for lanes that are gone.
    for (uint32_t left = warp.waiting; left != 0; left &= warp.waiting & (left - 1)) {
        try_complete(warp, __builtin_ctz(left));
    }
}

/** Runs one thread, and then, on the same stack, all that have not begun, until one that waits can go on. */
void fiber_main() {
#ifdef __SANITIZE_ADDRESS__
    const void* from = nullptr;
    std::size_t from_bytes = 0;
    __sanitizer_finish_switch_fiber(nullptr, &from, &from_bytes);
    if (worker->main_stack == nullptr) {
        worker->main_stack = from;
        worker->main_stack_bytes = from_bytes;
    }
#endif
    for (;;) {
        const int thread = running().thread;
        begin_thread(thread);
        worker->launch->kernel->call(worker->launch->parameters);
        end_thread(thread);
        if (worker->ended == worker->threads) {
            leave_block();
        }
        const int next = take_runnable(thread / warp_lanes);
        if (next < 0) {
            deadlock();
        }
        if (worker->fiber_of[next] == not_begun) {
            running().thread = next;
        } else {
            worker->free_fibers.push_back(worker->current);
            switch_to(worker->fiber_of[next]);
            std::abort();
        }
    }
}

void reset_warps() {
    worker->warps_in_use = (worker->threads + warp_lanes - 1) / warp_lanes;
    while (worker->warps.size() < static_cast<std::size_t>(worker->warps_in_use)) {
        worker->warps.push_back(std::make_unique<Warp>());
    }
    for (int i = 0; i < worker->warps_in_use; i++) {
        Warp& warp = *worker->warps[i];
        const int lanes = worker->threads - i * warp_lanes;
        warp.live = lanes >= warp_lanes ? 0xffffffffu : (1u << lanes) - 1;
        warp.runnable = warp.live;
        warp.waiting = 0;
        warp.free_rounds = 0xffffffffu;
    }
}

void prepare_dynamic_shared(const Launch& launch) {
    if (worker->dynamic == nullptr || worker->dynamic_bytes != launch.dynamic_bytes) {
        // Exactly as long as asked for, so that the sanitizer sees the first byte past it.
        std::free(worker->dynamic);
        void* memory = nullptr;
        if (posix_memalign(&memory, 128, launch.dynamic_bytes + shared_guard_bytes) != 0) {
            fault("no memory for %zu bytes of shared memory", launch.dynamic_bytes);
        }
        worker->dynamic = static_cast<unsigned char*>(memory);
        worker->dynamic_bytes = launch.dynamic_bytes;
        std::memset(worker->dynamic + launch.dynamic_bytes, shared_guard, shared_guard_bytes);
#ifdef __SANITIZE_ADDRESS__
        __asan_poison_memory_region(worker->dynamic + launch.dynamic_bytes, shared_guard_bytes);
#endif
    }
    std::memset(worker->dynamic, launch.poison, launch.dynamic_bytes);
}

#ifndef __SANITIZE_ADDRESS__
void check_shared_guard() {
    for (std::size_t i = 0; i < shared_guard_bytes; i++) {
        unsigned char& byte = worker->dynamic[worker->dynamic_bytes + i];
        if (byte != shared_guard) {
            std::memset(&byte, shared_guard, shared_guard_bytes - i);
            worker->failed = true;
            std::snprintf(worker->fault, sizeof worker->fault,
                    "kernel %s, block (%u,%u,%u) wrote past its %zu bytes of dynamic shared memory, at byte %zu",
                    worker->launch->kernel->name, worker->block.x, worker->block.y, worker->block.z,
                    worker->dynamic_bytes, worker->dynamic_bytes + i);
            return;
        }
    }
}
#endif

}  // namespace

void fault(const char* format, ...) {
    if (!worker->failed) {
        worker->failed = true;
        const uint3 at = running().index;
        const int written = std::snprintf(worker->fault, sizeof worker->fault,
                "kernel %s, block (%u,%u,%u), thread (%u,%u,%u): ", worker->launch->kernel->name, worker->block.x,
                worker->block.y, worker->block.z, at.x, at.y, at.z);
        va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(worker->fault + written, sizeof worker->fault - static_cast<std::size_t>(written), format,
                arguments);
        va_end(arguments);
    }
    leave_block();
}

void report_illegal_address() {
    fault("illegal address %p", worker->illegal_address);
}

int barrier(int value) {
    worker->barrier_sum += value;
    const int thread = running().thread;
    Warp& warp = *worker->warps[thread / warp_lanes];
    if (warp.waiting >> thread % warp_lanes & 1) {
        fault("a thread that waits in a collective is at __syncthreads");
    }
    if (++worker->at_barrier < worker->threads) {
        wait();
        return worker->barrier_result;
    }
    worker->at_barrier = 0;
    worker->barrier_result = worker->barrier_sum;
    worker->barrier_sum = 0;
    for (int i = 0; i < worker->warps_in_use; i++) {
        worker->warps[i]->runnable = worker->warps[i]->live;
    }
    warp.runnable &= ~(1u << thread % warp_lanes);
    return worker->barrier_result;
}

const Round& exchange(uint32_t mask, const void* words, std::size_t bytes, const char* call, Combine combine) {
    const int thread = running().thread;
    const int lane = thread % warp_lanes;
    Warp& warp = *worker->warps[thread / warp_lanes];
    if ((mask >> lane & 1) == 0) {
        fault("%s: the mask %08x does not name the calling lane, %d", call, mask, lane);
    }
    Arrival& arrival = warp.arrival[lane];
    arrival.mask = mask;
    arrival.call = call;
    arrival.combine = combine;
    if (bytes != 0) {
        std::memcpy(arrival.words, words, bytes);
    }
    warp.waiting |= 1u << lane;
    if (try_complete(warp, lane)) {
        warp.runnable &= ~(1u << lane);
    } else {
        wait();
    }
    Round& round = warp.rounds[arrival.round];
    round.unread &= ~(1u << lane);
    if (round.unread == 0) {
        warp.free_rounds |= 1u << arrival.round;
    }
    return round;
}

int lane_index() {
    return running().thread % warp_lanes;
}

void* dynamic_shared() {
    return worker->dynamic;
}

Fiber& current_fiber() {
    return running();
}

bool run_block(Worker& of, const Launch& launch, uint3 block) {
    worker = &of;
    of.launch = &launch;
    of.block = block;
    of.threads = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
    of.ended = 0;
    of.at_barrier = 0;
    of.barrier_sum = 0;
    of.failed = false;
    of.main_stack = nullptr;
    of.fiber_of.assign(static_cast<std::size_t>(of.threads), not_begun);
    of.free_fibers.clear();
    for (std::size_t i = of.fibers.size(); i > 0; i--) {
        of.free_fibers.push_back(static_cast<int>(i) - 1);
    }
    blockIdx = block;
    blockDim = launch.block;
    gridDim = launch.grid;
    reset_warps();
    prepare_dynamic_shared(launch);
    poison_static_shared(launch.poison);

    of.current = fiber_for(take_runnable(launch.reversed ? of.warps_in_use - 1 : 0));
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&of.main_sanitizer_stack, running().stack, fiber_stack_bytes);
#endif
    switch_stack(&of.main_saved, running().saved);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(of.main_sanitizer_stack, nullptr, nullptr);
#else
    if (!of.failed) {
        check_shared_guard();
    }
#endif
    return !of.failed;
}

}  // namespace emulator
