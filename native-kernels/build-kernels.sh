#!/usr/bin/env bash
# Compiles each src/main/cuda/*.cu into a fatbin of its own under the folder $1 (the module's classes),
# with nvcc where there is one; kernels.list names them. What has not changed is not compiled again.
# Without nvcc it says so and passes: the CPU backend needs none. build.properties says what was built,
# for whoever misses the kernels at run time.
#
# Machine code is made for the GPUs of this machine, or for sm_90a where there is none, and PTX of sm_80 for all
# others, which their driver compiles when it first loads it. JLORA_CUDA_ARCHITECTURES="89 90a" names other ones,
# and "all" is for what goes to other machines: it takes four times as long.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
readonly sources=src/main/cuda
readonly out=${1:-target/classes}/jlora/kernels
# A file with other contents means other flags: everything is compiled again.
readonly stamp=${1:-target/classes}/../kernels.flags

# Those of the GPUs that this machine has, such as "89 90a"; only Hopper's kernels use what its "a" stands for.
of_this_machine() {
    nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sed -nE 's/^([0-9]+)\.([0-9])$/\1\2/p' \
        | sed 's/^90$/90a/' | sort -un | tr '\n' ' ' || true
}

wanted=${JLORA_CUDA_ARCHITECTURES:-$(of_this_machine)}
[[ $wanted == all ]] && wanted='80 86 89 90a 100 120'
read -ra architectures <<<"${wanted:-90a}"
# What the fatbins hold: machine code by architecture, and PTX (compute_80) for newer ones.
images=()

say() {
    printf 'native-kernels: %s\n' "$1"
}

finish() {
    printf 'built=%s\narchitectures=%s\n' "$1" "${images[*]}" >"$out/build.properties"
    say "$1"
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
names=()
for kernel in "${kernels[@]}"; do
    name=${kernel##*/}
    names+=("${name%.cu}")
done

# A kernel file that is gone must not stay in the jar.
for fatbin in "$out"/*.fatbin; do
    name=${fatbin##*/}
    [[ -f $sources/${name%.fatbin}.cu ]] || rm -f "$fatbin"
done

nvcc=$(find_nvcc)
if [[ -z $nvcc ]]; then
    rm -f "$out"/*.fatbin "$out/kernels.list"
    finish 'nothing, no nvcc was found (CUDA toolkit 12 or 13); set NVCC or CUDA_HOME and build again'
fi

known=$("$nvcc" --list-gpu-code)
flags=(-std=c++17 -O3)
for architecture in "${architectures[@]}"; do
    # What this nvcc does not know yet is left out.
    if grep -qx "sm_${architecture%a}" <<<"$known"; then
        images+=("sm_$architecture")
        flags+=("-gencode=arch=compute_$architecture,code=sm_$architecture")
    fi
done
# For all others, those newer than this nvcc among them.
flags+=("-gencode=arch=compute_80,code=compute_80")
images+=(compute_80)
if "$nvcc" --help | grep -q -e --compress-mode; then
    flags+=(--compress-mode=size)
fi
release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
if [[ $(cat "$stamp" 2>/dev/null) != "$release ${flags[*]}" ]]; then
    rm -f "$out"/*.fatbin
    printf '%s' "$release ${flags[*]}" >"$stamp"
fi

changed=()
for name in "${names[@]}"; do
    if [[ ! -f $out/$name.fatbin || -n $(find "$sources/$name.cu" "$sources/common" -newer "$out/$name.fatbin" -print -quit) ]]; then
        changed+=("$name")
    fi
done
if [[ ${#changed[@]} -gt 0 ]]; then
    # Written beside its place first: an interrupted build leaves no half a fatbin.
    printf '%s\n' "${changed[@]}" | xargs -P "$(nproc)" -I NAME bash -c '
        "$0" -fatbin -I "$1" "${@:4}" -o "$2/NAME.part" "$1/NAME.cu" && mv "$2/NAME.part" "$2/NAME.fatbin"' \
        "$nvcc" "$sources" "$out" - "${flags[@]}" || {
        rm -f "$out"/*.part
        say 'nvcc failed, see above'
        exit 1
    }
fi
printf '%s\n' "${names[@]}" >"$out/kernels.list"
finish "${#names[@]} kernel files (${#changed[@]} compiled now) with nvcc $release for ${images[*]}"
