package jlora.trainer.bench;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Placement;

import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * What a device can do, measured and not looked up: the best of a few large matrix products and of
 * a few large copies, over random data (zeros would be faster on a GPU that saves power by them).
 *
 * @param flopsPerSecond of a square product in the run's own type, through the backend's linear
 *     kernel
 * @param bytesPerSecond of a copy within the device's memory; each byte counts once for its read
 *     and once for its write
 * @param size rows, columns and depth of the product
 * @param copyBytes that the copy reads
 * @param cacheBytes of the last cache before memory, as driver or system tell; 0 if they do not
 */
public record Ceilings(
        double flopsPerSecond, double bytesPerSecond, int size, long copyBytes, long cacheBytes) {
    /** As large as NVIDIA's own figures are given for. */
    private static final int LARGEST_SIZE = 8192;

    private static final int SMALLEST_SIZE = 256;

    /** Many times any cache. */
    private static final long LARGEST_COPY = 1L << 30;

    private static final long SMALLEST_COPY = 1L << 20;

    /** Nothing larger is tried once a measurement takes longer than an eighth of this. */
    private static final double MOST_MILLISECONDS = 120;

    private static final int REPEATS = 6;

    /** While the size is looked for: one slow moment must not end that. */
    private static final int TRIES = 3;

    /** At the largest sizes that this device does in a moment. */
    public static Ceilings measure(Backend backend, DType dtype) {
        int size = SMALLEST_SIZE;
        while (size < LARGEST_SIZE
                && 8 * product(backend, dtype, size, TRIES) * 1e3 < MOST_MILLISECONDS) {
            size *= 2;
        }
        long bytes = SMALLEST_COPY;
        while (bytes < LARGEST_COPY
                && 2 * copy(backend, bytes, TRIES) * 1e3 < MOST_MILLISECONDS / 4) {
            bytes *= 2;
        }
        return new Ceilings(
                2.0 * size * size * size / product(backend, dtype, size, REPEATS),
                2.0 * bytes / copy(backend, bytes, REPEATS),
                size,
                bytes,
                backend.cacheBytes());
    }

    /** The higher of two measurements, for each number: other load only ever lowers them. */
    public Ceilings best(Ceilings other) {
        Ceilings product = flopsPerSecond >= other.flopsPerSecond ? this : other;
        Ceilings copy = bytesPerSecond >= other.bytesPerSecond ? this : other;
        return new Ceilings(
                product.flopsPerSecond,
                copy.bytesPerSecond,
                product.size,
                copy.copyBytes,
                cacheBytes);
    }

    /** Seconds that so much work takes at the least. */
    public double seconds(long flops, long bytes) {
        return Math.max(flops / flopsPerSecond, bytes / bytesPerSecond);
    }

    /** Seconds of the fastest of so many. */
    private static double product(Backend backend, DType dtype, int size, int repeats) {
        return seconds(
                backend,
                List.of(
                        Tensor.dense("out", Storage.Role.WORKSPACE, dtype, size, size),
                        Tensor.dense("x", Storage.Role.WORKSPACE, dtype, size, size),
                        Tensor.dense("w", Storage.Role.WORKSPACE, dtype, size, size)),
                repeats,
                t ->
                        backend.kernels()
                                .linear()
                                .forward(t.get(0), t.get(1), t.get(2), Optional.empty()));
    }

    private static double copy(Backend backend, long bytes, int repeats) {
        long cols = 1 << 10;
        long rows = bytes / DType.F32.bytes() / cols;
        return seconds(
                backend,
                List.of(
                        Tensor.dense("to", Storage.Role.WORKSPACE, DType.F32, rows, cols),
                        Tensor.dense("from", Storage.Role.WORKSPACE, DType.F32, rows, cols)),
                repeats,
                t -> backend.copy(t.get(0), t.get(1)));
    }

    private static double seconds(
            Backend backend, List<Tensor> tensors, int repeats, Consumer<List<Tensor>> work) {
        List<Storage> storages = tensors.stream().map(Tensor::storage).toList();
        try (MemoryArena _ = Placement.allocate(backend, "ceiling", storages)) {
            int stream = 0;
            for (Tensor t : tensors) {
                backend.kernels().randomFill().normal(t, 0, 0, stream++, 1);
            }
            Runnable timed = () -> work.accept(tensors);
            timed.run();
            double best = Double.MAX_VALUE;
            for (int i = 0; i < repeats; i++) {
                best = Math.min(best, backend.milliseconds(timed) / 1e3);
            }
            return best;
        }
    }
}
