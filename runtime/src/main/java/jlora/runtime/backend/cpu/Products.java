package jlora.runtime.backend.cpu;

import java.lang.foreign.MemorySegment;

/**
 * Single-threaded matrix products on the calling thread: row-major, leading dimensions in elements,
 * offsets in bytes. Parallelism is {@link CpuPool}'s: who calls splits the work, so that results
 * depend on the split alone. Implementations may be called from several threads at once.
 */
interface Products extends AutoCloseable {
    /** The library and what it runs on, for {@code doctor} and reports. */
    String describe();

    /** One operand: where it starts, its leading dimension, and whether it is used transposed. */
    record Operand(MemorySegment segment, long byteOffset, long leading, boolean transposed) {}

    /** c[m,n] = alpha·op(a)[m,k]·op(b)[k,n] + beta·c, all f32; beta is 0 or 1. */
    void f32(int m, int n, int k, float alpha, Operand a, Operand b, float beta, Operand c);

    /**
     * The same with bf16 a and b; c is f32, or bf16 when {@code bf16Result} (then beta must be 0).
     */
    void bf16(
            int m,
            int n,
            int k,
            float alpha,
            Operand a,
            Operand b,
            float beta,
            Operand c,
            boolean bf16Result);

    @Override
    void close();
}
