// Atomics on integers. Those on floats are left out on purpose: their order differs from run to run, so a
// kernel that uses one must not compile.
#pragma once

namespace emulator {

template <class T>
constexpr bool atomic_integer =
        std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;

template <class T, class Update>
T atomic_update(T* at, Update update) {
    static_assert(atomic_integer<T>, "atomics are for int, unsigned and unsigned long long alone");
    T old = __atomic_load_n(at, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(
            at, &old, update(old), true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    }
    return old;
}

/** Keeps a parameter out of the deduction, so that literals convert as they do in CUDA. */
template <class T>
struct Same {
    using type = T;
};

template <class T>
using same = typename Same<T>::type;

}  // namespace emulator

#define EMULATOR_ATOMIC(name, expression)                                            \
    template <class T>                                                               \
    std::enable_if_t<emulator::atomic_integer<T>, T> name(T* at, emulator::same<T> value) { \
        return emulator::atomic_update(at, [&](T old) -> T { return expression; });  \
    }

EMULATOR_ATOMIC(atomicAdd, old + value)
EMULATOR_ATOMIC(atomicSub, old - value)
EMULATOR_ATOMIC(atomicMax, old > value ? old : value)
EMULATOR_ATOMIC(atomicMin, old < value ? old : value)
EMULATOR_ATOMIC(atomicOr, old | value)
EMULATOR_ATOMIC(atomicAnd, old & value)
EMULATOR_ATOMIC(atomicXor, old ^ value)
EMULATOR_ATOMIC(atomicExch, (static_cast<void>(old), value))

#undef EMULATOR_ATOMIC

inline unsigned atomicInc(unsigned* at, unsigned last) {
    return emulator::atomic_update(at, [&](unsigned old) { return old >= last ? 0 : old + 1; });
}

template <class T>
std::enable_if_t<emulator::atomic_integer<T>, T> atomicCAS(
        T* at, emulator::same<T> expected, emulator::same<T> value) {
    return emulator::atomic_update(at, [&](T old) { return old == expected ? value : old; });
}
