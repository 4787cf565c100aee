// Modules: whatever image is loaded, it has the kernels that g++ compiled, found beside this library.

#include <dirent.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>

#include "driver.h"

using emulator::Driver;
using emulator::Kernel;
using emulator::KernelLibrary;
using emulator::Needs;

namespace emulator {

namespace {

std::string own_folder() {
    Dl_info info;
    dladdr(reinterpret_cast<void*>(&own_folder), &info);
    const std::string path = info.dli_fname;
    return path.substr(0, path.find_last_of('/'));
}

std::vector<std::string> names_in(const std::string& folder) {
    std::vector<std::string> names;
    if (DIR* const entries = opendir(folder.c_str())) {
        while (const dirent* entry = readdir(entries)) {
            const std::string name = entry->d_name;
            if (name.size() > 3 && name.compare(name.size() - 3, 3, ".so") == 0) {
                names.push_back(name);
            }
        }
        closedir(entries);
    }
    std::sort(names.begin(), names.end());
    return names;
}

const KernelLibrary* open_library(const std::string& path) {
    void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    void* const symbol = library == nullptr ? nullptr : dlsym(library, kernel_library_symbol);
    if (symbol == nullptr) {
        std::fprintf(stderr, "jlora emulator: %s\n", dlerror());
        return nullptr;
    }
    return reinterpret_cast<KernelLibraryFunction>(symbol)();
}

std::vector<std::vector<const KernelLibrary*>> open_libraries() {
    // Each worker has a copy of every library, and so its own shared memory and built-in variables.
    std::vector<std::vector<const KernelLibrary*>> libraries;
    const std::string folder = own_folder() + "/kernels/";
    for (const std::string& name : names_in(folder + "0")) {
        std::vector<const KernelLibrary*> copies;
        for (int worker = 0; worker < workers; worker++) {
            if (const KernelLibrary* const copy = open_library(folder + std::to_string(worker) + "/" + name)) {
                copies.push_back(copy);
            }
        }
        if (copies.size() == workers) {
            libraries.push_back(copies);
        }
    }
    return libraries;
}

}  // namespace

const std::vector<std::vector<const KernelLibrary*>>& kernel_libraries() {
    static const auto* const libraries = new std::vector<std::vector<const KernelLibrary*>>(open_libraries());
    return *libraries;
}

}  // namespace emulator

namespace {

std::unique_ptr<CUfunc_st> find_function(const char* name) {
    for (const auto& copies : emulator::kernel_libraries()) {
        for (int i = 0; i < copies[0]->kernel_count; i++) {
            if (std::string(copies[0]->kernels[i].name) == name) {
                auto function = std::make_unique<CUfunc_st>();
                for (const KernelLibrary* copy : copies) {
                    function->kernels.push_back(&copy->kernels[i]);
                }
                function->libraries = copies;
                function->max_dynamic_shared = emulator::default_dynamic_shared;
                return function;
            }
        }
    }
    return nullptr;
}

bool knows(const Driver& driver, CUfunction function) {
    for (CUmodule module : driver.modules) {
        for (const auto& entry : module->functions) {
            if (entry.second.get() == function) {
                return true;
            }
        }
    }
    return false;
}

}  // namespace

extern "C" {

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    Driver& driver = Driver::instance();
    return driver.call("cuModuleLoadData", Needs::CONTEXT, [&]() -> CUresult {
        if (image == nullptr) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        const CUresult refused = driver.refuse_during_capture();
        if (refused != CUDA_SUCCESS) {
            return refused;
        }
        *module = new CUmod_st();
        driver.modules.insert(*module);
        return CUDA_SUCCESS;
    });
}

CUresult cuModuleUnload(CUmodule module) {
    Driver& driver = Driver::instance();
    return driver.call("cuModuleUnload", Needs::CONTEXT, [&] {
        driver.finish_all();
        if (driver.modules.erase(module) == 0) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        delete module;
        return CUDA_SUCCESS;
    });
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    Driver& driver = Driver::instance();
    return driver.call("cuModuleGetFunction", Needs::CONTEXT, [&] {
        if (driver.modules.count(module) == 0) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        auto known = module->functions.find(name);
        if (known == module->functions.end()) {
            auto found = find_function(name);
            if (!found) {
                return CUDA_ERROR_NOT_FOUND;
            }
            known = module->functions.emplace(name, std::move(found)).first;
        }
        *function = known->second.get();
        return CUDA_SUCCESS;
    });
}

CUresult cuFuncGetParamInfo(CUfunction function, std::size_t index, std::size_t* offset, std::size_t* bytes) {
    Driver& driver = Driver::instance();
    return driver.call("cuFuncGetParamInfo", Needs::CONTEXT, [&] {
        if (!knows(driver, function)) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        const Kernel& kernel = *function->kernels[0];
        if (index >= static_cast<std::size_t>(kernel.parameter_count)) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        *offset = kernel.offsets[index];
        if (bytes != nullptr) {
            *bytes = kernel.sizes[index];
        }
        return CUDA_SUCCESS;
    });
}

CUresult cuFuncGetAttribute(int* value, int attribute, CUfunction function) {
    Driver& driver = Driver::instance();
    return driver.call("cuFuncGetAttribute", Needs::CONTEXT, [&] {
        if (!knows(driver, function)) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        switch (attribute) {
            case 0: *value = function->kernels[0]->max_threads; return CUDA_SUCCESS;
            // Unknown here: static shared, constant and local memory are for nvcc to check.
            case 1: case 2: case 3: *value = 0; return CUDA_SUCCESS;
            case 4: *value = 32; return CUDA_SUCCESS;
            case 5: case 6: *value = 90; return CUDA_SUCCESS;
            case 7: *value = 0; return CUDA_SUCCESS;
            case 8: *value = function->max_dynamic_shared; return CUDA_SUCCESS;
            case 9: *value = -1; return CUDA_SUCCESS;
            default: return CUDA_ERROR_INVALID_VALUE;
        }
    });
}

CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) {
    Driver& driver = Driver::instance();
    return driver.call("cuFuncSetAttribute", Needs::CONTEXT, [&] {
        if (!knows(driver, function)) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        if (attribute == 9) {
            return value >= -1 && value <= 100 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
        }
        if (attribute != 8 || value < 0 || value > emulator::most_dynamic_shared) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        function->max_dynamic_shared = value;
        return CUDA_SUCCESS;
    });
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(
        int* blocks, CUfunction function, int threads, std::size_t dynamic_bytes) {
    Driver& driver = Driver::instance();
    return driver.call("cuOccupancyMaxActiveBlocksPerMultiprocessor", Needs::CONTEXT, [&] {
        if (!knows(driver, function)) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        if (threads <= 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        const int warps = (threads + emulator::warp_lanes - 1) / emulator::warp_lanes;
        const bool fits = threads <= function->kernels[0]->max_threads
                && dynamic_bytes <= static_cast<std::size_t>(function->max_dynamic_shared);
        const int by_shared = static_cast<int>((228u << 10) / (dynamic_bytes + 1024));
        *blocks = fits ? std::min({64 / warps, 32, by_shared}) : 0;
        return CUDA_SUCCESS;
    });
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
        unsigned block_y, unsigned block_z, unsigned dynamic_bytes, CUstream stream, void** parameters,
        void** extra) {
    Driver& driver = Driver::instance();
    return driver.call("cuLaunchKernel", Needs::CONTEXT, [&]() -> CUresult {
        if (!knows(driver, function)) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        const Kernel& kernel = *function->kernels[0];
        const unsigned long long threads = 1ULL * block_x * block_y * block_z;
        const bool in_range = grid_x - 1 < 0x7fffffffu && grid_y - 1 < 65535u && grid_z - 1 < 65535u
                && block_x - 1 < 1024u && block_y - 1 < 1024u && block_z - 1 < 64u && threads <= 1024;
        if (!in_range || extra != nullptr || (parameters == nullptr && kernel.parameter_count > 0)
            || dynamic_bytes > static_cast<unsigned>(function->max_dynamic_shared)) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        if (threads > static_cast<unsigned>(kernel.max_threads)) {
            return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
        }
        // The driver copies the values at once: the caller may use the array again.
        auto values = std::make_shared<std::vector<std::vector<unsigned char>>>();
        for (int i = 0; i < kernel.parameter_count; i++) {
            const auto* const from = static_cast<const unsigned char*>(parameters[i]);
            values->emplace_back(from, from + kernel.sizes[i]);
        }
        const dim3 grid(grid_x, grid_y, grid_z);
        const dim3 block(block_x, block_y, block_z);
        return driver.submit(stream, kernel.name, [&driver, function = *function, values, grid, block,
                                                          dynamic_bytes]() -> CUresult {
            std::vector<void*> pointers;
            for (auto& value : *values) {
                pointers.push_back(value.data());
            }
            driver.launches++;
            emulator::Launch launch{};
            launch.parameters = pointers.data();
            launch.grid = grid;
            launch.block = block;
            launch.dynamic_bytes = dynamic_bytes;
            launch.reversed = emulator::Controls::instance().reversed;
            // NaN, or a finite number of every type: whoever relies on one of them is found out by the other.
            launch.poison = (driver.launches * 0x9E3779B97F4A7C15ull >> 63) != 0 ? 0xff : 0x4b;
            std::string why;
            if (!emulator::run_kernel(function, launch, &why)) {
                std::fprintf(stderr, "jlora emulator: %s\n", why.c_str());
                return driver.lose(CUDA_ERROR_LAUNCH_FAILED, why);
            }
            return CUDA_SUCCESS;
        });
    });
}

}  // extern "C"
