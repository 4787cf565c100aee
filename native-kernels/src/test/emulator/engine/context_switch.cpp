#include "context_switch.h"

#include <cstdint>

#ifdef __x86_64__

// Callee-saved registers are all that a call may not lose; a switch by ucontext would also make two system
// calls for the signal mask, and cost twenty times as much.
asm(R"(
.text
.hidden emulator_switch_stack
.globl emulator_switch_stack
.type emulator_switch_stack,@function
emulator_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulator_switch_stack,.-emulator_switch_stack
)");

extern "C" __attribute__((visibility("hidden"))) void emulator_switch_stack(void** from, void* to);

namespace emulator {

void* prepare_stack(char* stack, std::size_t bytes, void (*entry)()) {
    // The entry finds the stack as after a call: 16-byte aligned but for the return address, which is 0.
    void** top = reinterpret_cast<void**>(stack + bytes - 64);
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; i++) {
        *--top = nullptr;
    }
    return top;
}

void switch_stack(void** from, void* to) {
    emulator_switch_stack(from, to);
}

}  // namespace emulator

#else

#include <ucontext.h>

#include <new>

namespace emulator {

namespace {

// What is saved is the address of a context at the far end of the stack, or, for a thread's own stack, of
// one that lives as long as the thread.
thread_local ucontext_t own_context;

}  // namespace

void* prepare_stack(char* stack, std::size_t bytes, void (*entry)()) {
    auto* const context = new (stack) ucontext_t;
    getcontext(context);
    context->uc_stack.ss_sp = stack + (sizeof(ucontext_t) + 63) / 64 * 64;
    context->uc_stack.ss_size = bytes - (sizeof(ucontext_t) + 63) / 64 * 64;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
    return context;
}

void switch_stack(void** from, void* to) {
    if (*from == nullptr) {
        *from = &own_context;
    }
    swapcontext(static_cast<ucontext_t*>(*from), static_cast<ucontext_t*>(to));
}

}  // namespace emulator

#endif
