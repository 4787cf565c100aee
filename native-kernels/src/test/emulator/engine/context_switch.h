// Leaves one stack for another.
#pragma once

#include <cstddef>

namespace emulator {

/** Lays out a stack so that the first switch to it enters `entry`; gives what to switch to. */
void* prepare_stack(char* stack, std::size_t bytes, void (*entry)());

/** Saves where this stack stands in *from, and goes on where `to` was saved. */
void switch_stack(void** from, void* to);

}  // namespace emulator
