// What tests ask of the emulator, and what its other libraries ask of the driver: exported with this prefix.
#pragma once

#include <cstddef>

extern "C" {

/** Threads and blocks run from the last to the first; any other order must give the same results. */
void jlora_emulator_set_reversed(int reversed);

/**
 * Fails a call with a code: the n-th from now (1 is the next) of the function named, or of all functions when
 * the name is null or empty. Calls that free or destroy do so all the same. One failure at a time; n = 0 takes
 * it back.
 */
void jlora_emulator_fail(const char* function, long n, int code);

/** Calls since the last reset: of the function named, or of all. */
long jlora_emulator_calls(const char* function);
void jlora_emulator_reset_calls();

long jlora_emulator_launches();

/** What programs hold: device and pinned allocations, device bytes, streams, ..., graphs with executables. */
long jlora_emulator_live_allocations();
long jlora_emulator_live_bytes();
long jlora_emulator_live_streams();
long jlora_emulator_live_events();
long jlora_emulator_live_modules();
long jlora_emulator_live_graphs();
long jlora_emulator_live_contexts();
/** Handles and descriptors of the other stand-in libraries. */
long jlora_emulator_live_objects();

/** Writes what is wrong with the guard words around device allocations; an empty string when all are whole. */
void jlora_emulator_check_guards(char* message, std::size_t bytes);

/** From now on every call that needs a context gives this code, as after a fault of the GPU. */
void jlora_emulator_lose_device(int code);

/** The device reports an Xid fault, which whoever waits for NVML's events gets; 0 takes it back. */
void jlora_emulator_report_xid(unsigned long long xid);

/** For NVML: the Xid that is reported, once; 0 when there is none. */
unsigned long long jlora_emulator_take_xid();

/** The device works again, as in a new process; handles stay as they are. */
void jlora_emulator_restore_device();

/** Writes what lost the device: the kernel, block and thread of a fault; an empty string when nothing did. */
void jlora_emulator_last_fault(char* message, std::size_t bytes);

/**
 * For the stand-in libraries: work for a stream, run at once or recorded when the stream is under capture.
 * `release` frees the data when no graph holds it any more.
 */
int jlora_emulator_enqueue(void* stream, const char* name, int (*run)(void*), void* data, void (*release)(void*));

/** Zero when all bytes lie in one live device allocation; else loses the device, as a GPU does, and says so. */
int jlora_emulator_check_range(unsigned long long address, std::size_t bytes, const char* what);

/** Something that another stand-in library made (1) or destroyed (-1). */
void jlora_emulator_object(int change);

/** Whether the calling thread has a current context. */
int jlora_emulator_has_context();

/** Counts a call of another stand-in library; a code other than 0 when a test wants it to fail. */
int jlora_emulator_enter(const char* function);

void jlora_emulator_memory(std::size_t* used, std::size_t* total);

}  // extern "C"
