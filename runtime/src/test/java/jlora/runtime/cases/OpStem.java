package jlora.runtime.cases;

import jlora.runtime.backend.Kernels;

import java.util.List;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * All cases of one op.
 *
 * @param kernel finds the op's kernel among a backend's
 * @param cases small ones, for what is right
 * @param speedCases those of real models, for how fast it is
 */
public record OpStem<K>(
        String name,
        Function<Kernels, K> kernel,
        Supplier<List<? extends OpCase<K>>> cases,
        Supplier<List<? extends OpCase<K>>> speedCases) {}
