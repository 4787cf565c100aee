// Stand-in for NVML: what jlora reports of a device.

#include <chrono>
#include <cstdio>
#include <cstring>
#include <set>
#include <thread>

#include "controls.h"

enum nvmlReturn_t : int {
    NVML_SUCCESS = 0,
    NVML_ERROR_UNINITIALIZED = 1,
    NVML_ERROR_INVALID_ARGUMENT = 2,
    NVML_ERROR_NOT_SUPPORTED = 3,
    NVML_ERROR_NOT_FOUND = 6,
    NVML_ERROR_INSUFFICIENT_SIZE = 7,
    NVML_ERROR_TIMEOUT = 10,
};

struct nvmlMemory_t {
    unsigned long long total, free, used;
};

struct nvmlMemory_v2_t {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

struct nvmlUtilization_t {
    unsigned gpu, memory;
};

struct nvmlEventData_t {
    void* device;
    unsigned long long eventType;
    unsigned long long eventData;
    unsigned gpuInstanceId;
    unsigned computeInstanceId;
};

namespace {

constexpr unsigned long long xid_event = 8;
constexpr unsigned long long known_events = 0xf | 0x10 | 0x80 | 0x100;

struct EventSet {
    unsigned long long events = 0;
};

std::set<EventSet*> event_sets;
int initialized = 0;
int device;
// As cuDeviceGetUuid gives it.
constexpr const char* uuid = "GPU-6a6c6f72-612d-656d-756c-61746f722d30";

nvmlReturn_t enter(const char* name, bool needs_init = true) {
    if (const int injected = jlora_emulator_enter(name)) {
        return static_cast<nvmlReturn_t>(injected);
    }
    return needs_init && initialized == 0 ? NVML_ERROR_UNINITIALIZED : NVML_SUCCESS;
}

nvmlReturn_t enter(const char* name, void* handle) {
    const nvmlReturn_t code = enter(name);
    return code == NVML_SUCCESS && handle != &device ? NVML_ERROR_INVALID_ARGUMENT : code;
}

nvmlReturn_t put(const char* text, char* to, unsigned bytes) {
    if (std::strlen(text) >= bytes) {
        return NVML_ERROR_INSUFFICIENT_SIZE;
    }
    std::strcpy(to, text);
    return NVML_SUCCESS;
}

nvmlReturn_t give(nvmlReturn_t code, unsigned* to, unsigned value) {
    if (code == NVML_SUCCESS) {
        *to = value;
    }
    return code;
}

}  // namespace

extern "C" {

nvmlReturn_t nvmlInit_v2() {
    const nvmlReturn_t code = enter("nvmlInit", false);
    if (code == NVML_SUCCESS) {
        initialized++;
        jlora_emulator_object(1);
    }
    return code;
}

nvmlReturn_t nvmlShutdown() {
    const nvmlReturn_t code = enter("nvmlShutdown");
    if (code == NVML_SUCCESS) {
        initialized--;
        jlora_emulator_object(-1);
    }
    return code;
}

const char* nvmlErrorString(nvmlReturn_t code) {
    switch (code) {
        case NVML_SUCCESS: return "Success";
        case NVML_ERROR_UNINITIALIZED: return "Uninitialized";
        case NVML_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
        case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
        case NVML_ERROR_NOT_FOUND: return "Not Found";
        case NVML_ERROR_INSUFFICIENT_SIZE: return "Insufficient Size";
        case NVML_ERROR_TIMEOUT: return "Timeout";
    }
    return "Unknown Error";
}

nvmlReturn_t nvmlSystemGetDriverVersion(char* version, unsigned bytes) {
    const nvmlReturn_t code = enter("nvmlSystemGetDriverVersion");
    return code == NVML_SUCCESS ? put("580.00.00", version, bytes) : code;
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char* version, unsigned bytes) {
    const nvmlReturn_t code = enter("nvmlSystemGetNVMLVersion");
    return code == NVML_SUCCESS ? put("13.580.00.00", version, bytes) : code;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned* count) {
    return give(enter("nvmlDeviceGetCount"), count, 1);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, void** handle) {
    const nvmlReturn_t code = enter("nvmlDeviceGetHandleByIndex");
    if (code != NVML_SUCCESS) {
        return code;
    }
    *handle = &device;
    return index == 0 ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char* name, void** handle) {
    const nvmlReturn_t code = enter("nvmlDeviceGetHandleByUUID");
    if (code != NVML_SUCCESS) {
        return code;
    }
    *handle = &device;
    return std::strcmp(name, uuid) == 0 ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char* id, void** handle) {
    const nvmlReturn_t code = enter("nvmlDeviceGetHandleByPciBusId");
    if (code != NVML_SUCCESS) {
        return code;
    }
    unsigned domain = 0, bus = 0, slot = 0;
    const bool full = std::sscanf(id, "%x:%x:%x", &domain, &bus, &slot) == 3;
    *handle = &device;
    return full && domain == 0 && bus == 1 && slot == 0 ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetName(void* handle, char* name, unsigned bytes) {
    const nvmlReturn_t code = enter("nvmlDeviceGetName", handle);
    return code == NVML_SUCCESS ? put("jlora emulator", name, bytes) : code;
}

nvmlReturn_t nvmlDeviceGetUUID(void* handle, char* name, unsigned bytes) {
    const nvmlReturn_t code = enter("nvmlDeviceGetUUID", handle);
    return code == NVML_SUCCESS ? put(uuid, name, bytes) : code;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(void* handle, nvmlMemory_t* memory) {
    const nvmlReturn_t code = enter("nvmlDeviceGetMemoryInfo", handle);
    if (code == NVML_SUCCESS) {
        std::size_t used, total;
        jlora_emulator_memory(&used, &total);
        *memory = {total, total - used, used};
    }
    return code;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(void* handle, nvmlMemory_v2_t* memory) {
    const nvmlReturn_t code = enter("nvmlDeviceGetMemoryInfo", handle);
    if (code == NVML_SUCCESS) {
        if (memory->version != (sizeof(nvmlMemory_v2_t) | 2u << 24)) {
            return NVML_ERROR_INVALID_ARGUMENT;
        }
        std::size_t used, total;
        jlora_emulator_memory(&used, &total);
        *memory = {memory->version, total, 0, total - used, used};
    }
    return code;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(void* handle, nvmlUtilization_t* rates) {
    const nvmlReturn_t code = enter("nvmlDeviceGetUtilizationRates", handle);
    if (code == NVML_SUCCESS) {
        *rates = {50, 25};
    }
    return code;
}

nvmlReturn_t nvmlDeviceGetTemperature(void* handle, int, unsigned* degrees) {
    return give(enter("nvmlDeviceGetTemperature", handle), degrees, 40);
}

nvmlReturn_t nvmlDeviceGetPowerUsage(void* handle, unsigned* milliwatts) {
    return give(enter("nvmlDeviceGetPowerUsage", handle), milliwatts, 75000);
}

nvmlReturn_t nvmlDeviceGetClockInfo(void* handle, int, unsigned* megahertz) {
    return give(enter("nvmlDeviceGetClockInfo", handle), megahertz, 1000);
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(void* handle, int, int, unsigned long long* errors) {
    const nvmlReturn_t code = enter("nvmlDeviceGetTotalEccErrors", handle);
    if (code == NVML_SUCCESS) {
        *errors = 0;
    }
    return code;
}

nvmlReturn_t nvmlEventSetCreate(void** set) {
    const nvmlReturn_t code = enter("nvmlEventSetCreate");
    if (code == NVML_SUCCESS) {
        auto* const created = new EventSet();
        event_sets.insert(created);
        jlora_emulator_object(1);
        *set = created;
    }
    return code;
}

nvmlReturn_t nvmlDeviceRegisterEvents(void* handle, unsigned long long events, void* set) {
    const nvmlReturn_t code = enter("nvmlDeviceRegisterEvents", handle);
    if (code != NVML_SUCCESS) {
        return code;
    }
    auto* const found = static_cast<EventSet*>(set);
    if (event_sets.count(found) == 0) {
        return NVML_ERROR_INVALID_ARGUMENT;
    }
    if ((events & ~known_events) != 0) {
        return NVML_ERROR_NOT_SUPPORTED;
    }
    found->events |= events;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetWait_v2(void* set, nvmlEventData_t* data, unsigned milliseconds) {
    const nvmlReturn_t code = enter("nvmlEventSetWait");
    if (code != NVML_SUCCESS) {
        return code;
    }
    auto* const found = static_cast<EventSet*>(set);
    if (event_sets.count(found) == 0) {
        return NVML_ERROR_INVALID_ARGUMENT;
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
    for (;;) {
        const unsigned long long xid = (found->events & xid_event) != 0 ? jlora_emulator_take_xid() : 0;
        if (xid != 0) {
            *data = {&device, xid_event, xid, 0xffffffffu, 0xffffffffu};
            return NVML_SUCCESS;
        }
        if (std::chrono::steady_clock::now() >= end) {
            return NVML_ERROR_TIMEOUT;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

nvmlReturn_t nvmlEventSetFree(void* set) {
    const nvmlReturn_t code = enter("nvmlEventSetFree");
    auto* const found = static_cast<EventSet*>(set);
    if (event_sets.erase(found) == 0) {
        return code == NVML_SUCCESS ? NVML_ERROR_INVALID_ARGUMENT : code;
    }
    jlora_emulator_object(-1);
    delete found;
    return code;
}

}  // extern "C"
