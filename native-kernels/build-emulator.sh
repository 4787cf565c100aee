#!/usr/bin/env bash
# Compiles src/main/cuda/*.cu by g++ into the emulator: a folder (target/emulator) with stand-ins for libcuda,
# cuBLASLt, cuBLAS and NVML that run the kernels on the CPU, for tests on machines without a GPU. Needs g++ alone.
#
#   build-emulator.sh [--sanitize]      --sanitize: into target/emulator-asan, with the address sanitizer
#
# Rebuilds what changed. Without g++ it says so and passes; build.properties in the folder has the same words.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
readonly emulator=src/test/emulator
readonly kernels=src/main/cuda
out=target/emulator
flags=(-std=c++17 -O2 -g1 -fPIC -Wall -Wextra)
if [[ ${1:-} == --sanitize ]]; then
    out=target/emulator-asan
    flags+=(-fsanitize=address -fno-omit-frame-pointer)
fi
readonly out flags
# Kernels are CUDA C++: they reinterpret memory, mark functions and loops as g++ does not know, and index from
# 0 with ints; it is nvcc who warns. No unique symbols: each copy of a library must have its own shared memory. Misaligned accesses and
# indices outside arrays are reported by engine/checks.cpp.
readonly kernel_flags=(-fno-strict-aliasing -fno-gnu-unique -fvisibility=hidden -DJLORA_EMULATOR -include language.h
    -fsanitize=alignment,bounds-strict,integer-divide-by-zero
    -w
    -I "$emulator/device" -I "$emulator/engine" -I "$kernels")
# As many as the OS threads of the emulator: WORKERS in driver/driver.h.
readonly copies=(0 1)
readonly cxx=${CXX:-g++}

# $1 in words for people; what follows, for the tests.
finish() {
    printf '%s\n' "$@" >"$out/build.properties"
    printf 'emulator: %s\n' "${1#built=}"
    exit 0
}

# Whether file $1 must be made anew from the files and folders that follow.
older() {
    local target=$1
    shift
    [[ ! -f $target || -n $(find "$@" -newer "$target" -print -quit) ]]
}

# The entries of a .cu file with their launch bounds, as a table that the registry is made of. Entries are often
# made by macros, so they are looked for in preprocessed text, where __global__ is kept.
entries() {
    "$cxx" -std=c++17 -E -P -D__global__=__global__ '-D__launch_bounds__(...)=__launch_bounds__((__VA_ARGS__))' \
        "${kernel_flags[@]}" -x c++ "$1" | tr '\n' ' ' \
        | grep -oE 'extern "C" +__global__ +(__launch_bounds__\(\([^;{]*\)\) +)?void +(__launch_bounds__\(\([^;{]*\)\) +)?[A-Za-z_0-9]+ *\(' \
        | sed -E 's/.*(__launch_bounds__\(\((.*)\)\)).* ([A-Za-z_0-9]+) *\($/\3 \2/; s/^extern "C".* ([A-Za-z_0-9]+) *\($/\1 1024/' \
        | sort -u || true
}

# Fails when entries() misses one.
check_entries() {
    local all found
    all=$("$cxx" -std=c++17 -E -P -D__global__=__global__ '-D__launch_bounds__(...)=' "${kernel_flags[@]}" -x c++ "$1" \
        | grep -oE 'extern "C" +__global__' | wc -l)
    found=$(grep -c 'emulator::KernelOf<&' "$2" || true)
    if [[ $all -ne $found ]]; then
        printf 'emulator: %s has %s kernels, and %s were understood: write entries as extern "C" __global__ void NAME(\n' \
            "$1" "$all" "$found" >&2
        return 1
    fi
}

# One kernel library: the file itself, the table of its entries, and the code that runs blocks.
build_kernels() {
    local source=$1 name copy
    name=$(basename "$source" .cu)
    {
        printf '#include "%s"\n#include "kernel.h"\n\n' "$(realpath "$source")"
        printf 'static const emulator::Kernel kernels[] = {\n'
        entries "$source" | while read -r entry bounds; do
            printf '    emulator::KernelOf<&%s>::named("%s", emulator::launch_bound(%s)),\n' "$entry" "$entry" "$bounds"
        done
        printf '    {nullptr, nullptr, 0, nullptr, nullptr, 0},\n};\n'
        printf 'static const emulator::KernelLibrary library = {\n'
        printf '    "%s", kernels, sizeof kernels / sizeof kernels[0] - 1, emulator::run_block,\n    emulator::report_illegal_address};\n' "$name.cu"
        printf 'extern "C" __attribute__((visibility("default"))) const emulator::KernelLibrary*\n'
        printf 'jlora_emulator_kernel_library() {\n    return &library;\n}\n'
    } >"$out/objects/kernels/$name.cpp"
    check_entries "$source" "$out/objects/kernels/$name.cpp"
    "$cxx" "${flags[@]}" "${kernel_flags[@]}" -c -o "$out/objects/kernels/$name.o" "$out/objects/kernels/$name.cpp"
    "$cxx" "${flags[@]}" -shared -Wl,-z,defs -o "$out/objects/kernels/$name.so" "$out/objects/kernels/$name.o" "${engine[@]}"
    for copy in "${copies[@]}"; do
        cp "$out/objects/kernels/$name.so" "$out/kernels/$copy/.$name.so"
        mv "$out/kernels/$copy/.$name.so" "$out/kernels/$copy/$name.so"
    done
}

# Runs "$1 ITEM" for each of the other arguments, two at a time; fails if one fails.
two_at_a_time() {
    local function=$1 item job failed=0
    shift
    local jobs=()
    for item in "$@"; do
        "$function" "$item" &
        jobs+=($!)
        if [[ ${#jobs[@]} -eq 2 ]]; then
            wait "${jobs[0]}" || failed=1
            jobs=("${jobs[@]:1}")
        fi
    done
    for job in ${jobs[@]+"${jobs[@]}"}; do
        wait "$job" || failed=1
    done
    return $failed
}

compile() {
    local more=()
    case $1 in
        */engine/*) more=(-fvisibility=hidden) ;;
        */cublaslt/*) more=(-O3) ;;
    esac
    "$cxx" "${flags[@]}" ${more[@]+"${more[@]}"} -I "$emulator/engine" -I "$emulator/device" -I "$emulator/driver" \
        -I "$emulator/cublaslt" -c \
        -o "$out/objects/$(basename "$1" .cpp).o" "$1"
}

# A shared library $1, by its soname, of the objects that follow. Symbols have its name as their version, as
# those of NVIDIA's CUDA libraries do: JCublas asks for it.
link() {
    local name=$1
    shift
    "$cxx" "${flags[@]}" -shared -Wl,-z,defs -Wl,-Bsymbolic "-Wl,-soname,$name" -Wl,--default-symver '-Wl,-rpath,$ORIGIN' -o "$out/$name" "$@" -ldl -lpthread
}

mkdir -p "$out/objects/kernels"
for copy in "${copies[@]}"; do
    mkdir -p "$out/kernels/$copy"
done
if ! command -v "$cxx" >/dev/null; then
    finish "built=nothing, no C++ compiler was found ($cxx); install g++ and build again"
fi
# One build at a time: several Maven runs may share the folder.
exec 9>"$out/objects/lock"
flock 9

shopt -s nullglob
built=0
sources=("$kernels"/*.cu "$emulator"/selftest/*.cu)
stale=()
for source in "$emulator"/{engine,driver,cublaslt,cublas,nvml,selftest}/*.cpp; do
    if older "$out/objects/$(basename "$source" .cpp).o" "$source" "$emulator"/{engine,driver,device,cublaslt} \
        "$(basename "${BASH_SOURCE[0]}")"; then
        stale+=("$source")
    fi
done
if [[ ${#stale[@]} -gt 0 ]]; then
    two_at_a_time compile "${stale[@]}"
    built=${#stale[@]}
fi
of() {
    local source
    for source in "$emulator/$1"/*.cpp; do
        printf '%s\n' "$out/objects/$(basename "$source" .cpp).o"
    done
}
mapfile -t objects < <(of driver)
if older "$out/libcuda.so.1" "${objects[@]}"; then
    link libcuda.so.1 "${objects[@]}"
fi
for pair in cublaslt:libcublasLt.so.13 cublas:libcublas.so.12 nvml:libnvidia-ml.so.1; do
    mapfile -t objects < <(of "${pair%%:*}")
    if [[ $pair == cublas:* ]]; then
        objects+=("$out"/objects/{job,product}.o)
    fi
    if [[ ${#objects[@]} -gt 0 ]] && older "$out/${pair#*:}" "${objects[@]}"; then
        link "${pair#*:}" "${objects[@]}" "$out/libcuda.so.1"
    fi
done

mapfile -t objects < <(of selftest)
if older "$out/selftest" "${objects[@]}"; then
    "$cxx" "${flags[@]}" '-Wl,-rpath,$ORIGIN' -o "$out/selftest" "${objects[@]}" "$out/libcuda.so.1" "$out/libcublasLt.so.13"
fi

mapfile -t engine < <(of engine)
stale=()
for source in "${sources[@]}"; do
    last=$out/kernels/${copies[-1]}/$(basename "$source" .cu).so
    if older "$last" "$source" "$kernels/common" "$emulator"/{engine,device} "$(basename "${BASH_SOURCE[0]}")"; then
        stale+=("$source")
    fi
done
# Libraries whose source is gone.
for library in "$out"/kernels/*/*.so; do
    name=$(basename "$library" .so)
    if [[ ! -f $kernels/$name.cu && ! -f $emulator/selftest/$name.cu ]]; then
        rm -f "$library"
    fi
done
if [[ ${#stale[@]} -gt 0 ]]; then
    two_at_a_time build_kernels "${stale[@]}"
fi
if [[ $built -eq 0 && ${#stale[@]} -eq 0 && -f $out/build.properties ]]; then
    touch "$out/build.properties"
    exit 0
fi
# What the backend loads where nvcc built nothing: the driver here takes any image.
images=$out/images/jlora/kernels
rm -rf "$images"
mkdir -p "$images"
for source in "$kernels"/*.cu; do
    name=$(basename "$source" .cu)
    printf '%s\n' "$name" >>"$images/kernels.list"
    printf 'for the emulator alone\n' >"$images/$name.fatbin"
done
printf 'built=kernels for the emulator alone\narchitectures=sm_90\n' >"$images/build.properties"

# The sanitizer's library must be the first that a process loads.
finish "built=${#sources[@]} kernel files with $("$cxx" --version | head -n 1) (${#stale[@]} compiled now)" \
    "asan=$(realpath "$("$cxx" -print-file-name=libasan.so)")"
