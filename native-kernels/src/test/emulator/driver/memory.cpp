// Device and pinned memory, copies and fills.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "driver.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

using emulator::Driver;
using emulator::Needs;

namespace {

constexpr std::size_t guard_bytes = 256;
constexpr unsigned char guard = 0xa5;
/** Fresh device memory reads as NaN in every type. */
constexpr unsigned char poison = 0xff;

/** From here on, allocations are mappings of their own: cheap until touched, and gone once freed. */
constexpr std::size_t large = 1 << 20;
constexpr std::size_t poison_pattern_bytes = 2 << 20;

/** Bytes that read as poison, 256-byte aligned. */
class Block {
public:
    Block() = default;

    explicit Block(std::size_t bytes) : bytes(bytes) {
        if (bytes >= large) {
            map();
        } else if (void* memory; posix_memalign(&memory, 256, bytes) == 0) {
            at = static_cast<unsigned char*>(memory);
            std::memset(at, poison, bytes);
        }
    }

    void release() {
        if (bytes >= large) {
            munmap(at, bytes);
        } else {
#ifndef __SANITIZE_ADDRESS__
            // Whoever still uses it shall notice.
            std::memset(at, poison, bytes);
#endif
            std::free(at);
        }
    }

    unsigned char* at = nullptr;

private:
    /** One file of poison, mapped again and again: a page is copied when it is first written. */
    void map() {
        static const int pattern = [] {
            const int file = memfd_create("poison", 0);
            const std::vector<unsigned char> bytes(poison_pattern_bytes, poison);
            return write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) ? file : -1;
        }();
        void* const all = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (all == MAP_FAILED) {
            return;
        }
        at = static_cast<unsigned char*>(all);
        for (std::size_t from = 0; from < bytes; from += poison_pattern_bytes) {
            const std::size_t count = std::min(poison_pattern_bytes, bytes - from);
            if (mmap(at + from, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, pattern, 0)
                == MAP_FAILED) {
                munmap(all, bytes);
                at = nullptr;
                return;
            }
        }
    }

    std::size_t bytes = 0;
};

struct Allocation {
    Block block;
    /** Without the guards. */
    std::size_t bytes;
};

// By address.
std::map<CUdeviceptr, Allocation> allocations;
std::map<const void*, Allocation> host_allocations;
std::size_t allocated_bytes = 0;

std::size_t total_memory() {
    return static_cast<std::size_t>(emulator::environment("JLORA_EMULATOR_MEMORY", 2LL << 30));
}

unsigned char* device(CUdeviceptr address) {
    return reinterpret_cast<unsigned char*>(address);
}

/** The offset of the first guard byte that was overwritten, relative to the allocation; or 0. */
long first_broken_guard(CUdeviceptr address, const Allocation& allocation) {
#ifdef __SANITIZE_ADDRESS__
    (void) address;
    (void) allocation;
#else
    const unsigned char* const begin = device(address);
    for (std::size_t i = 1; i <= guard_bytes; i++) {
        if (begin[-static_cast<long>(i)] != guard) {
            return -static_cast<long>(i);
        }
        if (begin[allocation.bytes + i - 1] != guard) {
            return static_cast<long>(allocation.bytes + i - 1);
        }
    }
#endif
    return 0;
}

/** Why an operation cannot reach its memory: an error that loses the context, as on a GPU. */
CUresult check_range(CUdeviceptr address, std::size_t bytes, const char* what) {
    std::string why;
    if (emulator::inside_allocation(address, bytes, &why)) {
        return CUDA_SUCCESS;
    }
    return Driver::instance().lose(CUDA_ERROR_ILLEGAL_ADDRESS, std::string(what) + ": " + why);
}

struct Side {
    bool host;
    unsigned char* address;
    std::size_t pitch;
};

CUresult copy_rows(const Side& to, const Side& from, std::size_t width, std::size_t height, const char* what) {
    if (width == 0 || height == 0) {
        return CUDA_SUCCESS;
    }
    for (const Side& side : {to, from}) {
        if (!side.host) {
            const CUresult inside = check_range(reinterpret_cast<CUdeviceptr>(side.address),
                    (height - 1) * side.pitch + width, what);
            if (inside != CUDA_SUCCESS) {
                return inside;
            }
        }
    }
    for (std::size_t row = 0; row < height; row++) {
        std::memmove(to.address + row * to.pitch, from.address + row * from.pitch, width);
    }
    return CUDA_SUCCESS;
}

bool is_pinned(const Side& side, std::size_t bytes) {
    auto next = host_allocations.upper_bound(side.address);
    if (next == host_allocations.begin()) {
        return false;
    }
    --next;
    const auto* const begin = static_cast<const unsigned char*>(next->first);
    return side.address + bytes <= begin + next->second.bytes;
}

/**
 * Copies in the stream. Memory that the driver did not allocate is copied from before the call returns, and
 * copied to as well; pinned memory when the copy's turn comes.
 */
CUresult submit_copy(const char* name, Side to, Side from, std::size_t width, std::size_t height, CUstream stream) {
    Driver& driver = Driver::instance();
    if (width == 0 || height == 0) {
        return CUDA_SUCCESS;
    }
    const bool recorded = stream != nullptr && driver.knows(stream) && stream->capture;
    if (!recorded && from.host && !is_pinned(from, (height - 1) * from.pitch + width)) {
        auto staged = std::make_shared<std::vector<unsigned char>>(width * height);
        copy_rows({true, staged->data(), width}, from, width, height, name);
        return driver.submit(stream, name,
                [=] { return copy_rows(to, {true, staged->data(), width}, width, height, name); });
    }
    const CUresult submitted =
            driver.submit(stream, name, [=] { return copy_rows(to, from, width, height, name); });
    const bool waits = submitted == CUDA_SUCCESS && !recorded && to.host
            && !is_pinned(to, (height - 1) * to.pitch + width);
    return waits ? driver.finish(stream) : submitted;
}

CUresult copy(const char* name, Side to, Side from, std::size_t bytes, CUstream stream) {
    return Driver::instance().call(
            name, Needs::CONTEXT, [&] { return submit_copy(name, to, from, bytes, 1, stream); });
}

Side host(const void* address) {
    return {true, static_cast<unsigned char*>(const_cast<void*>(address)), 0};
}

Side on_device(CUdeviceptr address) {
    return {false, device(address), 0};
}

template <class T>
CUresult fill(const char* name, CUdeviceptr address, T value, std::size_t count, CUstream stream) {
    Driver& driver = Driver::instance();
    return driver.call(name, Needs::CONTEXT, [&]() -> CUresult {
        if (address % sizeof(T) != 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        return driver.submit(stream, name, [=]() -> CUresult {
            if (count == 0) {
                return CUDA_SUCCESS;
            }
            const CUresult inside = check_range(address, count * sizeof(T), name);
            if (inside == CUDA_SUCCESS) {
                std::fill_n(reinterpret_cast<T*>(address), count, value);
            }
            return inside;
        });
    });
}

}  // namespace

namespace emulator {

bool inside_allocation(CUdeviceptr from, std::size_t bytes, std::string* why) {
    auto next = allocations.upper_bound(from);
    if (next != allocations.begin()) {
        const auto& [address, allocation] = *--next;
        if (from - address <= allocation.bytes && bytes <= allocation.bytes - (from - address)) {
            return true;
        }
        if (from - address < allocation.bytes) {
            *why = std::to_string(bytes) + " bytes at offset " + std::to_string(from - address)
                    + " of an allocation of " + std::to_string(allocation.bytes) + " bytes";
            return false;
        }
    }
    *why = std::to_string(bytes) + " bytes at " + std::to_string(from) + ", which no allocation holds";
    return false;
}

void memory_use(std::size_t* bytes, std::size_t* total) {
    *bytes = allocated_bytes;
    *total = total_memory();
}

long live_allocations() {
    return static_cast<long>(allocations.size() + host_allocations.size());
}

std::string broken_guards() {
    for (const auto& [address, allocation] : allocations) {
        const long at = first_broken_guard(address, allocation);
        if (at != 0) {
            return "byte " + std::to_string(at) + " relative to a device allocation of "
                    + std::to_string(allocation.bytes) + " bytes was overwritten";
        }
    }
    return "";
}

}  // namespace emulator

extern "C" {

CUresult cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
    return Driver::instance().call("cuMemGetInfo", Needs::CONTEXT, [&] {
        std::size_t used;
        emulator::memory_use(&used, total);
        *free = *total - used;
        return CUDA_SUCCESS;
    });
}

CUresult cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes) {
    Driver& driver = Driver::instance();
    return driver.call("cuMemAlloc", Needs::CONTEXT, [&]() -> CUresult {
        if (bytes == 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        const CUresult refused = driver.refuse_during_capture();
        if (refused != CUDA_SUCCESS) {
            return refused;
        }
        if (bytes > total_memory() - allocated_bytes) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        const Block block(bytes + 2 * guard_bytes);
        unsigned char* const first = block.at;
        if (first == nullptr) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        std::memset(first, guard, guard_bytes);
        std::memset(first + guard_bytes + bytes, guard, guard_bytes);
#ifdef __SANITIZE_ADDRESS__
        __asan_poison_memory_region(first, guard_bytes);
        __asan_poison_memory_region(first + guard_bytes + bytes, guard_bytes);
#endif
        *address = reinterpret_cast<CUdeviceptr>(first + guard_bytes);
        allocations[*address] = {block, bytes};
        allocated_bytes += bytes;
        return CUDA_SUCCESS;
    });
}

CUresult cuMemFree_v2(CUdeviceptr address) {
    Driver& driver = Driver::instance();
    return driver.call("cuMemFree", Needs::CONTEXT, [&]() -> CUresult {
        if (address == 0) {
            return CUDA_SUCCESS;
        }
        const CUresult refused = driver.refuse_during_capture();
        if (refused != CUDA_SUCCESS) {
            return refused;
        }
        // As on a GPU, where it waits for the device: nothing that is still to run may lose its memory.
        const CUresult finished = driver.finish_all();
        const auto found = allocations.find(address);
        if (found == allocations.end()) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        Allocation allocation = found->second;
        const long broken = first_broken_guard(address, allocation);
        allocations.erase(found);
        allocated_bytes -= allocation.bytes;
#ifdef __SANITIZE_ADDRESS__
        __asan_unpoison_memory_region(allocation.block.at, allocation.bytes + 2 * guard_bytes);
#endif
        allocation.block.release();
        if (broken != 0 && finished == CUDA_SUCCESS) {
            return driver.lose(CUDA_ERROR_ILLEGAL_ADDRESS,
                    "byte " + std::to_string(broken) + " relative to a device allocation of "
                            + std::to_string(allocation.bytes) + " bytes was overwritten before it was freed");
        }
        return finished;
    });
}

CUresult cuMemHostAlloc(void** address, std::size_t bytes, unsigned) {
    Driver& driver = Driver::instance();
    return driver.call("cuMemHostAlloc", Needs::CONTEXT, [&]() -> CUresult {
        if (bytes == 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        const CUresult refused = driver.refuse_during_capture();
        if (refused != CUDA_SUCCESS) {
            return refused;
        }
        const Block block(bytes);
        if (block.at == nullptr) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        *address = block.at;
        host_allocations[*address] = {block, bytes};
        return CUDA_SUCCESS;
    });
}

CUresult cuMemFreeHost(void* address) {
    Driver& driver = Driver::instance();
    return driver.call("cuMemFreeHost", Needs::CONTEXT, [&]() -> CUresult {
        const CUresult refused = driver.refuse_during_capture();
        if (refused != CUDA_SUCCESS) {
            return refused;
        }
        const CUresult finished = driver.finish_all();
        const auto found = host_allocations.find(address);
        if (found == host_allocations.end()) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        found->second.block.release();
        host_allocations.erase(found);
        return finished;
    });
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
    return copy("cuMemcpyHtoDAsync", on_device(to), host(from), bytes, stream);
}

CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
    return copy("cuMemcpyDtoHAsync", host(to), on_device(from), bytes, stream);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
    return copy("cuMemcpyDtoDAsync", on_device(to), on_device(from), bytes, stream);
}

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* given, CUstream stream) {
    Driver& driver = Driver::instance();
    return driver.call("cuMemcpy2DAsync", Needs::CONTEXT, [&]() -> CUresult {
        const CUDA_MEMCPY2D copy = *given;
        for (CUmemorytype type : {copy.srcMemoryType, copy.dstMemoryType}) {
            if (type != CU_MEMORYTYPE_HOST && type != CU_MEMORYTYPE_DEVICE) {
                return CUDA_ERROR_INVALID_VALUE;
            }
        }
        const std::size_t from_pitch = copy.srcPitch == 0 ? copy.WidthInBytes : copy.srcPitch;
        const std::size_t to_pitch = copy.dstPitch == 0 ? copy.WidthInBytes : copy.dstPitch;
        if (copy.srcXInBytes + copy.WidthInBytes > from_pitch || copy.dstXInBytes + copy.WidthInBytes > to_pitch) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        Side from = copy.srcMemoryType == CU_MEMORYTYPE_HOST ? host(copy.srcHost) : on_device(copy.srcDevice);
        Side to = copy.dstMemoryType == CU_MEMORYTYPE_HOST ? host(copy.dstHost) : on_device(copy.dstDevice);
        from.pitch = from_pitch;
        to.pitch = to_pitch;
        from.address += copy.srcY * from_pitch + copy.srcXInBytes;
        to.address += copy.dstY * to_pitch + copy.dstXInBytes;
        return submit_copy("cuMemcpy2DAsync", to, from, copy.WidthInBytes, copy.Height, stream);
    });
}

CUresult cuMemsetD8Async(CUdeviceptr address, unsigned char value, std::size_t count, CUstream stream) {
    return fill("cuMemsetD8Async", address, value, count, stream);
}

CUresult cuMemsetD32Async(CUdeviceptr address, unsigned value, std::size_t count, CUstream stream) {
    return fill("cuMemsetD32Async", address, value, count, stream);
}

}  // extern "C"
