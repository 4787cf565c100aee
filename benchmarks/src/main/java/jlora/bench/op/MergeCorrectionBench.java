package jlora.bench.op;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.HostValues;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;

/**
 * What the record of a merge costs, and how fast merging is: normal weights of deviation 0.02, an
 * update of rank r whose elements have the deviation in the first column. Prints Markdown.
 *
 * <p>Arguments: rows, columns, rank, threads; 4096 4096 16 and every processor by default.
 */
public final class MergeCorrectionBench {
    private static final double WEIGHT_SIGMA = 0.02;
    private static final double[] UPDATE_SIGMAS = {1e-4, 3e-4, 1e-3, 3e-3};
    private static final int RUNS = 7;

    private final Backend backend;
    private final Tensor w;
    private final Tensor a;
    private final Tensor b;

    private MergeCorrectionBench(Backend backend, Tensor w, Tensor a, Tensor b) {
        this.backend = backend;
        this.w = w;
        this.a = a;
        this.b = b;
    }

    public static void main(String[] arguments) {
        int[] given = Arrays.stream(arguments).mapToInt(Integer::parseInt).toArray();
        int rows = given.length > 0 ? given[0] : 4096;
        int cols = given.length > 1 ? given[1] : 4096;
        int rank = given.length > 2 ? given[2] : 16;
        CpuOptions all = CpuOptions.defaults();
        int threads = given.length > 3 ? given[3] : all.threads();
        try (Backend backend = new CpuBackend(new CpuOptions(threads, all.products()))) {
            System.out.printf(
                    "%s%n%nW [%d, %d], rank %d%n%n", backend.describe(), rows, cols, rank);
            System.out.println(
                    "| σ(BA) | type | weights corrected | record | bytes of the weights |"
                            + " fingerprint GB/s | merge GB/s | unmerge GB/s |");
            System.out.println("|---|---|---|---|---|---|---|---|");
            for (DType dtype : List.of(DType.BF16, DType.F32)) {
                run(backend, dtype, rows, cols, rank);
            }
        }
    }

    private static void run(Backend backend, DType dtype, int rows, int cols, int rank) {
        Tensor whole = Tensor.padded("W", Storage.Role.WEIGHT, dtype, rows + rank, cols, rank + 16);
        long bytes = MemoryArena.align(whole.storage().bytes());
        try (MemoryArena arena = backend.allocate("bordered weight", bytes)) {
            arena.place(whole.storage(), 0);
            Tensor w = whole.rows(0, rows);
            var bench =
                    new MergeCorrectionBench(
                            backend, w, whole.rows(rows, rank), w.columns(cols, rank));
            for (double sigma : UPDATE_SIGMAS) {
                bench.row(sigma);
            }
        }
    }

    private void row(double sigma) {
        SplittableRandom random = new SplittableRandom(1);
        double factor = Math.sqrt(sigma / Math.sqrt(a.rows()));
        fill(w, random, WEIGHT_SIGMA);
        fill(a, random, factor);
        fill(b, random, factor);
        MergeKernel kernel = backend.kernels().merge();
        List<double[]> seconds = new ArrayList<>();
        Corrections.Matrix record = null;
        List<MergeKernel.Part> parts = List.of(new MergeKernel.Part(w, a, b));
        for (int run = 0; run < RUNS; run++) {
            long t0 = System.nanoTime();
            long[] print = kernel.fingerprints(List.of(w));
            long t1 = System.nanoTime();
            try (Corrections corrections = kernel.merge(parts).orElseThrow()) {
                backend.synchronize();
                long t2 = System.nanoTime();
                kernel.unmerge(parts, corrections);
                backend.synchronize();
                long t3 = System.nanoTime();
                if (!Arrays.equals(kernel.fingerprints(List.of(w)), print)) {
                    throw new IllegalStateException("unmerging did not give the weight back");
                }
                record = corrections.matrices().getFirst();
                seconds.add(new double[] {t1 - t0, t2 - t1, t3 - t2});
            }
        }
        double size = w.elements() * (double) w.dtype().bytes();
        System.out.printf(
                Locale.ROOT,
                "| %.0e | %s | %.2f %% | %s | %.2f %% | %.1f | %.1f | %.1f |%n",
                sigma,
                w.dtype().torchName(),
                100.0 * record.corrected() / w.elements(),
                record.kind(),
                100 * record.bytes() / size,
                size / median(seconds, 0),
                2 * size / median(seconds, 1),
                2 * size / median(seconds, 2));
    }

    private void fill(Tensor to, SplittableRandom random, double sigma) {
        float[] values = new float[Math.toIntExact(to.elements())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (sigma * random.nextGaussian());
        }
        HostValues.write(backend, to, values, 1);
    }

    private static double median(List<double[]> runs, int phase) {
        return runs.stream().mapToDouble(r -> r[phase]).sorted().toArray()[runs.size() / 2];
    }
}
