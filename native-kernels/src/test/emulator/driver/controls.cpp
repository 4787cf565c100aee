#include "controls.h"

#include <cstring>
#include <utility>

#include "driver.h"

using emulator::Driver;

namespace emulator {

namespace {

struct Failure {
    std::string function;
    long left = 0;
    CUresult code = CUDA_SUCCESS;
};

Failure failure;
std::map<std::string, long> calls;
long all_calls = 0;
long library_objects = 0;
unsigned long long reported_xid = 0;

void copy_text(char* to, std::size_t bytes, const std::string& text) {
    if (bytes > 0) {
        std::strncpy(to, text.c_str(), bytes - 1);
        to[bytes - 1] = 0;
    }
}

}  // namespace

Controls& Controls::instance() {
    static Controls* const controls = new Controls{environment("JLORA_EMULATOR_REVERSED", 0) != 0};
    return *controls;
}

CUresult Controls::enter(const char* name) {
    calls[name]++;
    all_calls++;
    if (failure.left > 0 && (failure.function.empty() || failure.function == name) && --failure.left == 0) {
        return failure.code;
    }
    return CUDA_SUCCESS;
}

}  // namespace emulator

namespace {

class Locked {
public:
    Driver& driver = Driver::instance();

private:
    std::lock_guard<std::recursive_mutex> guard{driver.lock};
};

}  // namespace

extern "C" {

void jlora_emulator_set_reversed(int reversed) {
    const Locked locked;
    locked.driver.finish_all();
    emulator::Controls::instance().reversed = reversed != 0;
}

void jlora_emulator_fail(const char* function, long n, int code) {
    const Locked locked;
    emulator::failure = {function == nullptr ? "" : function, n, static_cast<CUresult>(code)};
}

long jlora_emulator_calls(const char* function) {
    const Locked locked;
    return function == nullptr || *function == 0 ? emulator::all_calls : emulator::calls[function];
}

void jlora_emulator_reset_calls() {
    const Locked locked;
    emulator::calls.clear();
    emulator::all_calls = 0;
}

long jlora_emulator_launches() {
    const Locked locked;
    locked.driver.finish_all();
    return locked.driver.launches;
}

long jlora_emulator_live_allocations() {
    const Locked locked;
    return emulator::live_allocations();
}

long jlora_emulator_live_bytes() {
    const Locked locked;
    std::size_t used, total;
    emulator::memory_use(&used, &total);
    return static_cast<long>(used);
}

long jlora_emulator_live_streams() {
    return static_cast<long>(Locked().driver.streams.size());
}

long jlora_emulator_live_events() {
    return static_cast<long>(Locked().driver.events.size());
}

long jlora_emulator_live_modules() {
    return static_cast<long>(Locked().driver.modules.size());
}

long jlora_emulator_live_graphs() {
    const Locked locked;
    return static_cast<long>(locked.driver.graphs.size() + locked.driver.executables.size());
}

long jlora_emulator_live_contexts() {
    return Locked().driver.context.retained;
}

void jlora_emulator_check_guards(char* message, std::size_t bytes) {
    const Locked locked;
    locked.driver.finish_all();
    emulator::copy_text(message, bytes, emulator::broken_guards());
}

void jlora_emulator_lose_device(int code) {
    Locked().driver.lose(static_cast<CUresult>(code), "a test took the device away");
}

void jlora_emulator_report_xid(unsigned long long xid) {
    const Locked locked;
    emulator::reported_xid = xid;
}

unsigned long long jlora_emulator_take_xid() {
    const Locked locked;
    return std::exchange(emulator::reported_xid, 0);
}

void jlora_emulator_restore_device() {
    Locked().driver.lose(CUDA_SUCCESS, "");
}

void jlora_emulator_last_fault(char* message, std::size_t bytes) {
    const Locked locked;
    emulator::copy_text(message, bytes, locked.driver.fault);
}

int jlora_emulator_enqueue(void* stream, const char* name, int (*run)(void*), void* data, void (*release)(void*)) {
    const Locked locked;
    const std::shared_ptr<void> owned(data, release);
    if (locked.driver.lost != CUDA_SUCCESS) {
        return locked.driver.lost;
    }
    return locked.driver.submit(static_cast<CUstream>(stream), name,
            [run, owned] { return static_cast<CUresult>(run(owned.get())); });
}

int jlora_emulator_check_range(unsigned long long address, std::size_t bytes, const char* what) {
    const Locked locked;
    std::string why;
    if (bytes == 0 || emulator::inside_allocation(address, bytes, &why)) {
        return CUDA_SUCCESS;
    }
    return locked.driver.lose(CUDA_ERROR_ILLEGAL_ADDRESS, std::string(what) + ": " + why);
}

void jlora_emulator_object(int change) {
    const Locked locked;
    emulator::library_objects += change;
}

long jlora_emulator_live_objects() {
    const Locked locked;
    return emulator::library_objects;
}

int jlora_emulator_has_context() {
    const Locked locked;
    return emulator::current_context() != nullptr && locked.driver.context.retained > 0 ? 1 : 0;
}

int jlora_emulator_enter(const char* function) {
    const Locked locked;
    return emulator::Controls::instance().enter(function);
}

void jlora_emulator_memory(std::size_t* used, std::size_t* total) {
    const Locked locked;
    emulator::memory_use(used, total);
}

}  // extern "C"
