// What g++'s checks of kernels report (-fsanitize=alignment,bounds-strict,integer-divide-by-zero), told as faults
// of the kernel. The structs are those of the compiler's own ABI.

#include <cstdint>

#include "block.h"

namespace {

struct SourceLocation {
    const char* file;
    uint32_t line;
    uint32_t column;
};

struct TypeDescriptor {
    uint16_t kind;
    uint16_t info;
    char name[1];
};

struct Mismatch {
    SourceLocation where;
    const TypeDescriptor* type;
    unsigned char log_alignment;
    unsigned char kind;
};

struct OutOfBounds {
    SourceLocation where;
    const TypeDescriptor* array;
    const TypeDescriptor* index;
};

struct Overflow {
    SourceLocation where;
    const TypeDescriptor* type;
};

const char* base_name(const char* path) {
    const char* name = path;
    for (const char* at = path; *at != 0; at++) {
        if (*at == '/') {
            name = at + 1;
        }
    }
    return name;
}

}  // namespace

extern "C" {

__attribute__((visibility("hidden"))) void __ubsan_handle_type_mismatch_v1(const Mismatch* data, uintptr_t address) {
    emulator::fault("address %#zx is not aligned to the %d bytes of %s, at %s:%u", static_cast<std::size_t>(address),
            1 << data->log_alignment, data->type->name, base_name(data->where.file), data->where.line);
}

__attribute__((visibility("hidden"))) void __ubsan_handle_out_of_bounds(const OutOfBounds* data, uintptr_t index) {
    emulator::fault("index %lld is outside %s, at %s:%u", static_cast<long long>(index), data->array->name,
            base_name(data->where.file), data->where.line);
}

__attribute__((visibility("hidden"))) void __ubsan_handle_divrem_overflow(const Overflow* data, uintptr_t, uintptr_t) {
    emulator::fault("division by zero, at %s:%u", base_name(data->where.file), data->where.line);
}

}  // extern "C"
