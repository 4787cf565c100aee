package jlora.runtime.backend.cpu;

import jlora.runtime.tensor.DType;

import java.lang.foreign.MemorySegment;
import java.util.Objects;
import java.util.Optional;

/**
 * Single-threaded matrix products on the calling thread: row-major, leading dimensions in elements,
 * offsets in bytes. Parallelism is {@link CpuPool}'s: who calls splits the work, so that results
 * depend on the split alone. Implementations may be called from several threads at once, and give
 * the same bits for the same product on every thread.
 */
interface Products extends AutoCloseable {
    /** The library and what it runs on, for {@code doctor} and reports. */
    String describe();

    /** One operand: where it starts, its leading dimension, and whether it is used transposed. */
    record Operand(MemorySegment segment, long byteOffset, long leading, boolean transposed) {
        public Operand {
            Objects.requireNonNull(segment);
            if (byteOffset < 0 || byteOffset > segment.byteSize() || leading < 1) {
                throw new IllegalArgumentException(
                        "operand at byte "
                                + byteOffset
                                + " of "
                                + segment.byteSize()
                                + ", leading dimension "
                                + leading);
            }
        }
    }

    /**
     * c[m,n] = alpha·op(a)[m,k]·op(b)[k,n] (+ bias[1,n] on every row) (+ c). Sums are formed in
     * f32.
     *
     * @param type of a, b and the bias: F32 or BF16
     * @param bias only without alpha and accumulate
     * @param result type of c: F32, or BF16 where type is BF16 too
     * @param recurring the shape comes back step after step, so preparing for it once (about a
     *     millisecond) pays
     */
    record Product(
            int m,
            int n,
            int k,
            float alpha,
            DType type,
            Operand a,
            Operand b,
            Optional<Operand> bias,
            boolean accumulate,
            DType result,
            Operand c,
            boolean recurring) {
        public Product {
            Objects.requireNonNull(bias);
            boolean types = type.isFloat() && (result == DType.F32 || result == type);
            boolean plainBias = bias.isEmpty() || (alpha == 1f && !accumulate);
            if (m < 0 || n < 0 || k < 0 || !types || !plainBias || c.transposed()) {
                throw new IllegalArgumentException(
                        "bad product " + describe(m, n, k, type, result));
            }
        }

        /** Shape and types for messages. */
        @Override
        public String toString() {
            return describe(m, n, k, type, result)
                    + (a.transposed() ? ", a transposed" : "")
                    + (b.transposed() ? ", b transposed" : "")
                    + ", leading dimensions "
                    + a.leading()
                    + ", "
                    + b.leading()
                    + ", "
                    + c.leading();
        }

        private static String describe(int m, int n, int k, DType type, DType result) {
            return "["
                    + m
                    + ", "
                    + k
                    + "]·["
                    + k
                    + ", "
                    + n
                    + "] "
                    + type.torchName()
                    + " to "
                    + result.torchName();
        }
    }

    /** Computes one product. */
    void multiply(Product product);

    /** True where products of bf16 are faster than those of f32 that was widened from it. */
    boolean bf16IsFaster();

    /**
     * c = alpha·op(a)·op(b) + beta·c, all f32, for shapes that vary from call to call; beta is 0 or
     * 1.
     */
    default void f32(
            int m, int n, int k, float alpha, Operand a, Operand b, float beta, Operand c) {
        multiply(
                new Product(
                        m,
                        n,
                        k,
                        alpha,
                        DType.F32,
                        a,
                        b,
                        Optional.empty(),
                        beta(beta),
                        DType.F32,
                        c,
                        false));
    }

    /** The same with bf16 a and b; c is f32, or bf16 when {@code bf16Result}. */
    default void bf16(
            int m,
            int n,
            int k,
            float alpha,
            Operand a,
            Operand b,
            float beta,
            Operand c,
            boolean bf16Result) {
        DType result = bf16Result ? DType.BF16 : DType.F32;
        multiply(
                new Product(
                        m,
                        n,
                        k,
                        alpha,
                        DType.BF16,
                        a,
                        b,
                        Optional.empty(),
                        beta(beta),
                        result,
                        c,
                        false));
    }

    private static boolean beta(float beta) {
        if (beta != 0f && beta != 1f) {
            throw new IllegalArgumentException("beta " + beta);
        }
        return beta == 1f;
    }

    @Override
    void close();
}
