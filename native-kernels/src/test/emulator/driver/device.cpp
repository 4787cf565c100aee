// The device and its context.

#include <cstring>

#include "driver.h"

using emulator::Driver;
using emulator::Needs;

namespace {

constexpr const char* device_name = "jlora emulator";

bool has_device() {
    return emulator::environment("JLORA_EMULATOR_DEVICES", 1) > 0;
}

CUresult check_device(CUdevice device) {
    return device == 0 && has_device() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

/** CUdevice_attribute, for a device like an H100 but with few multiprocessors. */
bool attribute_of(int attribute, int* value) {
    switch (attribute) {
        case 1: *value = 1024; return true;                           // MAX_THREADS_PER_BLOCK
        case 2: case 3: *value = 1024; return true;                   // MAX_BLOCK_DIM_X, Y
        case 4: *value = 64; return true;                             // MAX_BLOCK_DIM_Z
        case 5: *value = 0x7fffffff; return true;                     // MAX_GRID_DIM_X
        case 6: case 7: *value = 65535; return true;                  // MAX_GRID_DIM_Y, Z
        case 8: *value = emulator::default_dynamic_shared; return true;  // MAX_SHARED_MEMORY_PER_BLOCK
        case 9: *value = 65536; return true;                          // TOTAL_CONSTANT_MEMORY
        case 10: *value = 32; return true;                            // WARP_SIZE
        case 12: *value = 65536; return true;                         // MAX_REGISTERS_PER_BLOCK
        case 13: *value = 1000000; return true;                       // CLOCK_RATE, kHz
        case 16: *value = 4; return true;                             // MULTIPROCESSOR_COUNT
        case 32: *value = 1; return true;                             // ECC_ENABLED
        case 33: *value = 1; return true;                             // PCI_BUS_ID
        case 34: *value = 0; return true;                             // PCI_DEVICE_ID
        case 36: *value = 1000000; return true;                       // MEMORY_CLOCK_RATE, kHz
        case 37: *value = 64; return true;                            // GLOBAL_MEMORY_BUS_WIDTH
        case 38: *value = 1 << 20; return true;                       // L2_CACHE_SIZE
        case 39: *value = 2048; return true;                          // MAX_THREADS_PER_MULTIPROCESSOR
        case 41: *value = 1; return true;                             // UNIFIED_ADDRESSING
        case 50: *value = 0; return true;                             // PCI_DOMAIN_ID
        case 75: *value = 9; return true;                             // COMPUTE_CAPABILITY_MAJOR
        case 76: *value = 0; return true;                             // COMPUTE_CAPABILITY_MINOR
        case 81: *value = 228 << 10; return true;  // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
        case 97: *value = emulator::most_dynamic_shared; return true;  // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        case 106: *value = 32; return true;                           // MAX_BLOCKS_PER_MULTIPROCESSOR
        case 111: *value = 1024; return true;                         // RESERVED_SHARED_MEMORY_PER_BLOCK
        case 115: *value = 1; return true;                            // MEMORY_POOLS_SUPPORTED
        default: return false;
    }
}

}  // namespace

extern "C" {

CUresult cuInit(unsigned flags) {
    Driver& driver = Driver::instance();
    return driver.call("cuInit", Needs::NOTHING, [&] {
        if (flags != 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        if (!has_device()) {
            return CUDA_ERROR_NO_DEVICE;
        }
        driver.initialized = true;
        return CUDA_SUCCESS;
    });
}

CUresult cuDriverGetVersion(int* version) {
    return Driver::instance().call("cuDriverGetVersion", Needs::NOTHING, [&] {
        *version = static_cast<int>(
                emulator::environment("JLORA_EMULATOR_DRIVER_VERSION", emulator::driver_version));
        return CUDA_SUCCESS;
    });
}

CUresult cuDeviceGetCount(int* count) {
    return Driver::instance().call("cuDeviceGetCount", Needs::INITIALIZED, [&] {
        *count = has_device() ? 1 : 0;
        return CUDA_SUCCESS;
    });
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    return Driver::instance().call("cuDeviceGet", Needs::INITIALIZED, [&] {
        *device = ordinal;
        return check_device(ordinal);
    });
}

CUresult cuDeviceGetName(char* name, int length, CUdevice device) {
    return Driver::instance().call("cuDeviceGetName", Needs::INITIALIZED, [&] {
        if (length <= 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        std::strncpy(name, device_name, static_cast<std::size_t>(length) - 1);
        name[length - 1] = 0;
        return check_device(device);
    });
}

CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
    return Driver::instance().call("cuDeviceGetUuid", Needs::INITIALIZED, [&] {
        std::memcpy(uuid->bytes, "jlora-emulator-0", sizeof uuid->bytes);
        return check_device(device);
    });
}

// The name that programs built against CUDA 12 and older link to, JCuda among them.
CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
    return cuDeviceGetUuid_v2(uuid, device);
}

CUresult cuDeviceGetAttribute(int* value, int attribute, CUdevice device) {
    return Driver::instance().call("cuDeviceGetAttribute", Needs::INITIALIZED, [&] {
        if (!attribute_of(attribute, value)) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        return check_device(device);
    });
}

CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice device) {
    return Driver::instance().call("cuDeviceTotalMem", Needs::INITIALIZED, [&] {
        std::size_t used;
        emulator::memory_use(&used, bytes);
        return check_device(device);
    });
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    Driver& driver = Driver::instance();
    return driver.call("cuDevicePrimaryCtxRetain", Needs::INITIALIZED, [&] {
        if (check_device(device) != CUDA_SUCCESS) {
            return CUDA_ERROR_INVALID_DEVICE;
        }
        driver.context.retained++;
        *context = &driver.context;
        return CUDA_SUCCESS;
    });
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    Driver& driver = Driver::instance();
    return driver.call("cuDevicePrimaryCtxRelease", Needs::INITIALIZED, [&] {
        if (check_device(device) != CUDA_SUCCESS) {
            return CUDA_ERROR_INVALID_DEVICE;
        }
        if (driver.context.retained == 0) {
            return CUDA_ERROR_INVALID_CONTEXT;
        }
        driver.context.retained--;
        return CUDA_SUCCESS;
    });
}

CUresult cuCtxSetCurrent(CUcontext context) {
    Driver& driver = Driver::instance();
    return driver.call("cuCtxSetCurrent", Needs::INITIALIZED, [&] {
        if (context != nullptr && (context != &driver.context || driver.context.retained == 0)) {
            return CUDA_ERROR_INVALID_CONTEXT;
        }
        emulator::current_context() = context;
        return CUDA_SUCCESS;
    });
}

CUresult cuCtxGetCurrent(CUcontext* context) {
    return Driver::instance().call("cuCtxGetCurrent", Needs::INITIALIZED, [&] {
        *context = emulator::current_context();
        return CUDA_SUCCESS;
    });
}

CUresult cuCtxGetDevice(CUdevice* device) {
    return Driver::instance().call("cuCtxGetDevice", Needs::CONTEXT, [&] {
        *device = 0;
        return CUDA_SUCCESS;
    });
}

CUresult cuCtxSynchronize() {
    Driver& driver = Driver::instance();
    return driver.call("cuCtxSynchronize", Needs::CONTEXT, [&] {
        const CUresult refused = driver.refuse_during_capture();
        return refused == CUDA_SUCCESS ? driver.finish_all() : refused;
    });
}

}  // extern "C"
