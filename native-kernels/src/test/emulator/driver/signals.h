// Turns an access to memory that does not exist, within a kernel, into a fault of that kernel.
#pragma once

#include "kernel.h"

namespace emulator {

/** Called once by each thread that runs blocks. */
void prepare_thread_for_signals();

/** Which block the calling thread runs, from here to the end of the scope. */
class RunningBlock {
public:
    RunningBlock(Worker& worker, const KernelLibrary& library);
    ~RunningBlock();
};

}  // namespace emulator
