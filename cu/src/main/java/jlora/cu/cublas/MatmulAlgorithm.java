package jlora.cu.cublas;

import java.util.Objects;

/**
 * One way to compute a product, as its library names it. It may be stored and used again by the
 * same version of the library on the same kind of GPU, and then gives the same bits.
 *
 * @param code one word
 */
public record MatmulAlgorithm(String code) {
    public MatmulAlgorithm {
        Objects.requireNonNull(code);
        if (code.isEmpty() || code.chars().anyMatch(c -> c <= ' ')) {
            throw new IllegalArgumentException("algorithm '" + code + "'");
        }
    }
}
