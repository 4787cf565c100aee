// What a kernel library (one .cu file compiled by g++) gives the stand-in driver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "block.h"

namespace emulator {

struct Kernel {
    const char* name;
    /** Unpacks the parameters and calls the kernel for the thread that is current. */
    void (*call)(void** parameters);
    int parameter_count;
    const std::size_t* offsets;
    const std::size_t* sizes;
    /** From __launch_bounds__. */
    int max_threads;
};

struct KernelLibrary {
    const char* source;
    const Kernel* kernels;
    int kernel_count;
    bool (*run_block)(Worker& worker, const Launch& launch, uint3 block);
    void (*report_illegal_address)();
};

/** The one symbol of a kernel library. */
constexpr const char* kernel_library_symbol = "jlora_emulator_kernel_library";
using KernelLibraryFunction = const KernelLibrary* (*)();

/** Parameters as the CUDA ABI lays them out: each at the next multiple of its alignment. */
template <class... Parameters>
struct ParameterLayout {
    static constexpr int count = sizeof...(Parameters);

    struct Table {
        std::size_t offsets[count + 1];
        std::size_t sizes[count + 1];
    };

    static constexpr Table make() {
        Table table{};
        constexpr std::size_t sizes[] = {sizeof(Parameters)..., 0};
        constexpr std::size_t alignments[] = {alignof(Parameters)..., 1};
        std::size_t at = 0;
        for (int i = 0; i < count; i++) {
            at = (at + alignments[i] - 1) / alignments[i] * alignments[i];
            table.offsets[i] = at;
            table.sizes[i] = sizes[i];
            at += sizes[i];
        }
        return table;
    }

    static constexpr Table table = make();
};

template <auto function>
struct KernelOf;

template <class... Parameters, void (*function)(Parameters...)>
struct KernelOf<function> {
    using Layout = ParameterLayout<Parameters...>;

    template <std::size_t... i>
    static void call(void** parameters, std::index_sequence<i...>) {
        (void) parameters;
        function(*static_cast<Parameters*>(parameters[i])...);
    }

    static void call(void** parameters) {
        call(parameters, std::index_sequence_for<Parameters...>());
    }

    static constexpr Kernel named(const char* name, int max_threads) {
        return {name, call, Layout::count, Layout::table.offsets, Layout::table.sizes, max_threads};
    }
};

/** The first argument of __launch_bounds__; its second asks for blocks per multiprocessor. */
constexpr int launch_bound(int max_threads, int = 0, int = 0) {
    return max_threads;
}

}  // namespace emulator
