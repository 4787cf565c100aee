package jlora.runtime.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.Test;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Optional;
import java.util.Random;

/** Sums whose order a contract fixes give the same bits for every number of threads. */
final class ThreadCountTest {
    private static final int[] THREADS = {1, 2, 3};

    /** Runs on a pool, in tensors placed one behind the other, and returns the result's bits. */
    private interface Computation {
        Tensor run(CpuPool pool, Tensors tensors);
    }

    private static final class Tensors implements AutoCloseable {
        private final MemoryArena arena = MemoryArena.host("test", 1 << 23);
        private final Random random = new Random(11);
        private long next;

        private Tensor place(DType dtype, int rows, int cols) {
            Tensor t = Tensor.dense("t", Storage.Role.ACTIVATION, dtype, rows, cols);
            arena.place(t.storage(), next);
            next += MemoryArena.align(t.storage().bytes());
            return t;
        }

        Tensor zeros(int rows, int cols) {
            return place(DType.F32, rows, cols);
        }

        Tensor normal(int rows, int cols) {
            Tensor t = place(DType.F32, rows, cols);
            for (long i = 0; i < t.elements(); i++) {
                float value = (float) random.nextGaussian();
                t.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
            }
            return t;
        }

        Tensor normalBf16(int rows, int cols) {
            Tensor t = place(DType.BF16, rows, cols);
            for (long i = 0; i < t.elements(); i++) {
                short bits = Rows.roundToBf16((float) random.nextGaussian());
                t.segment().setAtIndex(ValueLayout.JAVA_SHORT, i, bits);
            }
            return t;
        }

        Fp8Matrix fp8(int rows, int cols, Scaling scaling) {
            return Fp8Matrix.allocate(
                    rows, cols, scaling, (what, dtype, r, c) -> place(dtype, (int) r, (int) c));
        }

        Tensor ints(int... values) {
            Tensor t = place(DType.I32, 1, values.length);
            MemorySegment.copy(values, 0, t.segment(), ValueLayout.JAVA_INT, 0, values.length);
            return t;
        }

        @Override
        public void close() {
            arena.close();
        }
    }

    private static void assertSameBits(Computation computation) {
        int[] first = null;
        for (int threads : THREADS) {
            try (CpuPool pool = new CpuPool(threads);
                    Tensors tensors = new Tensors()) {
                Tensor result = computation.run(pool, tensors);
                int[] bits = result.segment().toArray(ValueLayout.JAVA_INT);
                if (first == null) {
                    first = bits;
                    boolean written = Arrays.stream(bits).anyMatch(b -> b != 0);
                    assertTrue(written, "the result is not the zeros it started from");
                } else {
                    assertArrayEquals(first, bits, threads + " threads");
                }
            }
        }
    }

    @Test
    void gradientNorm() {
        assertSameBits(
                (pool, tensors) -> {
                    Tensor norm = tensors.zeros(1, 2);
                    new CpuGradNorm(pool)
                            .forward(norm, tensors.zeros(1, 1), tensors.normal(1, 100_003), 1f);
                    return norm;
                });
    }

    @Test
    void embeddingGradient() {
        int[] ids = new Random(5).ints(300, 0, 7).toArray();
        ids[0] = 0;
        assertSameBits(
                (pool, tensors) -> {
                    Tensor table = tensors.zeros(7, 200);
                    Tensor rows = tensors.ints(ids);
                    new CpuEmbedding(pool)
                            .backward(
                                    Optional.of(Grad.accumulate(table)),
                                    Optional.empty(),
                                    tensors.normal(300, 200),
                                    rows,
                                    rows);
                    return table;
                });
    }

    /** More than one tile each way, and more than one panel deep. */
    @Test
    void fp8Product() {
        assertSameBits(
                (pool, tensors) -> {
                    CpuFp8 fp8 = new CpuFp8(pool, new VectorProducts());
                    Fp8Matrix x = tensors.fp8(300, 1100, Scaling.PIECE);
                    Fp8Matrix weight = tensors.fp8(270, 1100, Scaling.BLOCK);
                    Tensor out = tensors.zeros(300, 270);
                    fp8.quantize(x, tensors.normal(300, 1100), Optional.empty());
                    fp8.quantize(weight, tensors.normal(270, 1100), Optional.empty());
                    fp8.multiply(out, x, weight, true);
                    return out;
                });
    }

    /** Blocks whose products round probabilities to bf16, where the processor has such products. */
    @Test
    void attentionGradientOfBf16() {
        AttentionShape shape = new AttentionShape(4, 2, 16, 0.3f, 0);
        try (Products products = ProductLibrary.AUTO.open()) {
            assertSameBits(
                    (pool, tensors) -> {
                        Tensor qkv = tensors.normalBf16(260, shape.fusedCols());
                        PackedSequences sequences =
                                new PackedSequences(
                                        tensors.ints(0, 192, 260), Optional.empty(), 192);
                        Tensor out = tensors.place(DType.BF16, 260, shape.queryCols());
                        Tensor lse = tensors.zeros(260, shape.heads());
                        Tensor gradient = tensors.place(DType.BF16, 260, shape.fusedCols());
                        Tensor dOut = tensors.normalBf16(260, shape.queryCols());
                        CpuAttention attention = new CpuAttention(pool, products);
                        attention.forward(out, lse, qkv, sequences, shape);
                        attention.backward(gradient, dOut, out, lse, qkv, sequences, shape);
                        return gradient;
                    });
        }
    }

    @Test
    void attentionGradient() {
        AttentionShape shape = new AttentionShape(4, 2, 8, 0.3f, 0);
        assertSameBits(
                (pool, tensors) -> {
                    Tensor qkv = tensors.normal(170, shape.fusedCols());
                    PackedSequences sequences =
                            new PackedSequences(tensors.ints(0, 100, 170), Optional.empty(), 100);
                    Tensor out = tensors.zeros(170, shape.queryCols());
                    Tensor lse = tensors.zeros(170, shape.heads());
                    Tensor gradient = tensors.zeros(170, shape.fusedCols());
                    Tensor dOut = tensors.normal(170, shape.queryCols());
                    CpuAttention attention = new CpuAttention(pool, new PlainProducts());
                    attention.forward(out, lse, qkv, sequences, shape);
                    attention.backward(gradient, dOut, out, lse, qkv, sequences, shape);
                    return gradient;
                });
    }
}
