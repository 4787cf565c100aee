#!/usr/bin/env bash
# Compiles src/main/cuda/*.cu into one fatbin under the folder $1 (the module's classes), with nvcc
# where there is one. Without nvcc, or without kernels, it says so and passes: the CPU backend needs none.
# build.properties beside the fatbin says what was built, for whoever misses the kernels at run time.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
readonly sources=src/main/cuda
readonly out=${1:-target/classes}/jlora/kernels
readonly fatbin=$out/kernels.fatbin

# What this nvcc does not know yet is left out.
readonly architectures=(80 86 89 90a 100 120)

finish() {
    printf '%s\n' "$@" >"$out/build.properties"
    printf 'native-kernels: %s\n' "${1#built=}"
    exit 0
}

find_nvcc() {
    local candidate
    for candidate in "${NVCC:-}" "$(command -v nvcc || true)" "${CUDA_HOME:-}/bin/nvcc" \
        "${CUDA_PATH:-}/bin/nvcc" /usr/local/cuda/bin/nvcc /opt/cuda/bin/nvcc; do
        if [[ -n $candidate && -x $candidate ]]; then
            printf '%s' "$candidate"
            return
        fi
    done
}

mkdir -p "$out"
shopt -s nullglob
kernels=("$sources"/*.cu)
if [[ ${#kernels[@]} -eq 0 ]]; then
    rm -f "$fatbin"
    finish 'built=nothing, there are no CUDA kernels yet'
fi
nvcc=$(find_nvcc)
if [[ -z $nvcc ]]; then
    rm -f "$fatbin"
    finish 'built=nothing, no nvcc was found (CUDA toolkit 12 or 13); set NVCC or CUDA_HOME and build again'
fi
if [[ -f $fatbin && -z $(find "$sources" "${BASH_SOURCE[0]##*/}" -newer "$fatbin" -print -quit) ]]; then
    exit 0
fi

known=$("$nvcc" --list-gpu-code)
codes=()
flags=()
for architecture in "${architectures[@]}"; do
    if grep -qx "sm_${architecture%a}" <<<"$known"; then
        codes+=("sm_$architecture")
        flags+=("-gencode=arch=compute_$architecture,code=sm_$architecture")
    fi
done
# PTX of the oldest one, for GPUs newer than this nvcc.
flags+=("-gencode=arch=compute_${architectures[0]},code=compute_${architectures[0]}")
if "$nvcc" --help | grep -q -e --compress-mode; then
    flags+=(--compress-mode=size)
fi

# One translation unit, so that one fatbin holds all kernels: names are unique across files.
unit=$(mktemp -d)
trap 'rm -rf "$unit"' EXIT
for kernel in "${kernels[@]}"; do
    printf '#include "%s"\n' "${kernel##*/}"
done >"$unit/kernels.cu"
"$nvcc" -fatbin -std=c++17 -O3 --threads 0 -I "$sources" "${flags[@]}" -o "$unit/kernels.fatbin" "$unit/kernels.cu"
mv "$unit/kernels.fatbin" "$fatbin"
release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
finish "built=${#kernels[@]} kernel files with nvcc $release for ${codes[*]}"
