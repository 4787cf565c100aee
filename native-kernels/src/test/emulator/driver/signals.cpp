#include "signals.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <mutex>

namespace emulator {

namespace {

constexpr std::size_t signal_stack_bytes = 64 << 10;
/** What a report needs. */
constexpr std::size_t report_bytes = 16 << 10;

thread_local Worker* running_worker = nullptr;
thread_local const KernelLibrary* running_library = nullptr;

// The Java machine's own handlers: it lives with these signals, and must go on getting its own.
struct sigaction before[NSIG];

void pass_on(int signal, siginfo_t* info, void* context) {
    const struct sigaction& other = before[signal];
    if ((other.sa_flags & SA_SIGINFO) != 0) {
        other.sa_sigaction(signal, info, context);
    } else if (other.sa_handler != SIG_DFL && other.sa_handler != SIG_IGN) {
        other.sa_handler(signal);
    } else {
        // The instruction fails again, without us.
        sigaction(signal, &other, nullptr);
    }
}

void handle(int signal, siginfo_t* info, void* context) {
    if (running_worker == nullptr) {
        pass_on(signal, info, context);
        return;
    }
    // Goes on in a function that reports, and that nobody returns from: below what the thread has on its stack,
    // or, when that is full, at the top.
    running_worker->illegal_address = info->si_addr;
    const char* const stack = running_worker->fibers[static_cast<std::size_t>(running_worker->current)]->stack;
    const auto bottom = reinterpret_cast<uintptr_t>(stack);
    const auto entry = reinterpret_cast<uintptr_t>(running_library->report_illegal_address);
    auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
    const auto below = [&](uintptr_t pointer) {
        const bool fits = pointer > bottom + report_bytes && pointer <= bottom + fiber_stack_bytes;
        return (fits ? pointer - 256 : bottom + fiber_stack_bytes - 64) / 16 * 16;
    };
#if defined(__x86_64__)
    machine.gregs[REG_RSP] = static_cast<greg_t>(below(static_cast<uintptr_t>(machine.gregs[REG_RSP])) - 8);
    machine.gregs[REG_RIP] = static_cast<greg_t>(entry);
#elif defined(__aarch64__)
    machine.sp = below(machine.sp);
    machine.pc = entry;
#endif
}

void install() {
    for (int signal : {SIGSEGV, SIGBUS}) {
        struct sigaction action = {};
        action.sa_sigaction = handle;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(signal, &action, &before[signal]);
    }
}

}  // namespace

void prepare_thread_for_signals() {
    static std::once_flag once;
    std::call_once(once, install);
    // A stack of its own, since the thread's may be what has run over.
    stack_t stack = {};
    stack.ss_sp = mmap(nullptr, signal_stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack.ss_size = signal_stack_bytes;
    sigaltstack(&stack, nullptr);
}

RunningBlock::RunningBlock(Worker& worker, const KernelLibrary& library) {
    running_library = &library;
    running_worker = &worker;
}

RunningBlock::~RunningBlock() {
    running_worker = nullptr;
}

}  // namespace emulator
