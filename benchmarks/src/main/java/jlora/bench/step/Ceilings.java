package jlora.bench.step;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuPool;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;

/**
 * What the processor can do, measured and not looked up: the best of a few large matrix products
 * and of a few large copies.
 *
 * @param flopsPerSecond of a product in the run's own type, through the backend's linear kernel
 * @param bytesPerSecond of a copy by all threads; each byte counts once for its read and once for
 *     its write
 */
record Ceilings(double flopsPerSecond, double bytesPerSecond) {
    /** Rows, columns and depth of the product: too much for the caches, a tenth of a second. */
    static final int SIZE = 2048;

    /** Bytes that a copy reads; many times a processor's cache. */
    static final long COPY_BYTES = 256L << 20;

    private static final int PRODUCTS = 6;
    private static final int COPIES = 4;

    static Ceilings measure(Backend backend, DType dtype, int threads) {
        return new Ceilings(products(backend, dtype), copies(threads));
    }

    /** The higher of two measurements, for each number: other load only ever lowers them. */
    Ceilings best(Ceilings other) {
        return new Ceilings(
                Math.max(flopsPerSecond, other.flopsPerSecond),
                Math.max(bytesPerSecond, other.bytesPerSecond));
    }

    /** Seconds that so much work takes at the least. */
    double seconds(long flops, long bytes) {
        return Math.max(flops / flopsPerSecond, bytes / bytesPerSecond);
    }

    private static double products(Backend backend, DType dtype) {
        List<Tensor> tensors =
                List.of(
                        dense("product out", dtype),
                        dense("product x", dtype),
                        dense("product w", dtype));
        long each = MemoryArena.align(tensors.getFirst().storage().bytes());
        try (MemoryArena arena = backend.allocate("product ceiling", each * tensors.size())) {
            for (int i = 0; i < tensors.size(); i++) {
                arena.place(tensors.get(i).storage(), i * each);
                fill(backend, tensors.get(i));
            }
            double best = Double.MAX_VALUE;
            for (int i = 0; i < PRODUCTS; i++) {
                long start = System.nanoTime();
                backend.kernels()
                        .linear()
                        .forward(tensors.get(0), tensors.get(1), tensors.get(2), Optional.empty());
                backend.synchronize();
                best = Math.min(best, (System.nanoTime() - start) / 1e9);
            }
            return 2.0 * SIZE * SIZE * SIZE / best;
        }
    }

    private static Tensor dense(String name, DType dtype) {
        return Tensor.dense(name, Storage.Role.WORKSPACE, dtype, SIZE, SIZE);
    }

    /** Numbers of ordinary size, all different from zero: 0.75 to 1 in either float type. */
    private static void fill(Backend backend, Tensor tensor) {
        byte[] bytes = new byte[Math.toIntExact(tensor.elements() * tensor.dtype().bytes())];
        int step = tensor.dtype().bytes();
        for (int i = 0; i < bytes.length; i += step) {
            bytes[i + step - 1] = 0x3f;
            bytes[i + step - 2] = (byte) (0x40 + i / step % 0x40);
        }
        backend.upload(tensor, MemorySegment.ofArray(bytes));
    }

    private static double copies(int threads) {
        try (MemoryArena from = MemoryArena.host("copy source", COPY_BYTES);
                MemoryArena to = MemoryArena.host("copy target", COPY_BYTES);
                CpuPool pool = new CpuPool(threads)) {
            from.segment().fill((byte) 1);
            double best = Double.MAX_VALUE;
            for (int i = 0; i < COPIES; i++) {
                long start = System.nanoTime();
                pool.run(
                        COPY_BYTES >> 12,
                        1,
                        (_, first, end) ->
                                MemorySegment.copy(
                                        from.segment(),
                                        first << 12,
                                        to.segment(),
                                        first << 12,
                                        (end - first) << 12));
                best = Math.min(best, (System.nanoTime() - start) / 1e9);
            }
            return 2.0 * COPY_BYTES / best;
        }
    }
}
