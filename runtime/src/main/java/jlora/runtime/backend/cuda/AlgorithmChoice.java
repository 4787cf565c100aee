package jlora.runtime.backend.cuda;

import jlora.cu.cublas.MatmulAlgorithm;
import jlora.cu.cublas.MatmulApi;
import jlora.cu.cublas.MatmulArguments;
import jlora.cu.cublas.MatmulShape;
import jlora.cu.cublas.PreparedMatmul;
import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.DeviceBuffer;
import jlora.runtime.Resources;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * Chooses an algorithm for each shape of product: the one in the cache, else the fastest of those
 * that the library proposes, timed on the operands at hand. A choice is made by timing only where
 * it can be kept in the cache: otherwise two runs could differ in their last bits, so there the
 * library's first proposal is taken, which is the same in every run.
 */
final class AlgorithmChoice implements AutoCloseable {
    /** Results of timed products that must not change their output. */
    static final long TIMING_BYTES = 32L << 20;

    private static final int CANDIDATES = 8;
    private static final int ROUNDS = 5;

    /** What one timing should take, so that the events' own half a microsecond does not show. */
    private static final double TIMING_MILLISECONDS = 0.2;

    private static final int MOST_CALLS = 20;
    private static final int COLUMNS = 16;

    /** By how much a later proposal must be faster: less is noise. */
    private static final double MARGIN = 0.99;

    private final MatmulApi products;
    private final AlgorithmCache cache;
    private final CudaStream stream;
    private final Resources owned = new Resources();
    private final EventTimer timer;
    private final DeviceBuffer timing;
    private final Set<String> notes = new LinkedHashSet<>();
    private int timed;

    AlgorithmChoice(
            MatmulApi products, AlgorithmCache cache, CudaContext context, CudaStream stream) {
        this.products = products;
        this.cache = cache;
        this.stream = stream;
        if (!cache.writable()) {
            notes.add(unwritable());
        }
        try {
            this.timer = owned.own(new EventTimer(context, stream));
            this.timing = owned.own(context.allocate("results of timed products", TIMING_BYTES));
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, owned);
            throw e;
        }
    }

    /** Empty where the library has no algorithm for the shape. */
    Optional<PreparedMatmul> choose(MatmulShape shape, MatmulArguments arguments) {
        Optional<PreparedMatmul> known =
                cache.find(shape.toString())
                        .flatMap(algorithm -> products.prepare(shape, algorithm));
        if (known.isPresent()) {
            return known;
        }
        List<MatmulAlgorithm> candidates = usable(shape);
        if (candidates.isEmpty()) {
            return Optional.empty();
        }
        return products.prepare(shape, pick(shape, candidates, arguments));
    }

    /** What a user may want to know: choices that could not be made by timing, and why. */
    List<String> notes() {
        return List.copyOf(notes);
    }

    /** Shapes that were timed by this object, not found in the cache. */
    int timed() {
        return timed;
    }

    private List<MatmulAlgorithm> usable(MatmulShape shape) {
        return products.algorithms(shape, CANDIDATES).stream()
                .filter(algorithm -> products.prepare(shape, algorithm).isPresent())
                .toList();
    }

    private MatmulAlgorithm pick(
            MatmulShape shape, List<MatmulAlgorithm> candidates, MatmulArguments arguments) {
        MatmulAlgorithm first = candidates.get(0);
        if (stream.capturing()) {
            notes.add(
                    "the product "
                            + shape
                            + " was first met in a graph, so its algorithm was not timed");
            return first;
        }
        if (!cache.writable()) {
            return first;
        }
        MatmulAlgorithm fastest =
                candidates.size() == 1 ? first : fastest(shape, candidates, arguments);
        try {
            return cache.keep(
                    shape.toString(), fastest, other -> products.prepare(shape, other).isPresent());
        } catch (IOException e) {
            notes.add(unwritable());
            return first;
        }
    }

    private String unwritable() {
        return cache.file()
                + " cannot be written, so the algorithms of matrix products are the library's first"
                + " proposals and not the fastest; set JLORA_CACHE_DIR to a folder that can be"
                + " written";
    }

    private MatmulAlgorithm fastest(
            MatmulShape shape, List<MatmulAlgorithm> candidates, MatmulArguments arguments) {
        timed++;
        MatmulShape run = shape;
        MatmulArguments on = arguments;
        if (shape.accumulate()) {
            // Added once for each timing, the true result would be wrong. As many of its columns
            // as there is room for are timed elsewhere.
            long columnBytes = shape.d().leadingDimension() * shape.d().type().bytes();
            long columns = Math.min(shape.n(), timing.bytes() / columnBytes);
            if (columns == 0) {
                return candidates.get(0);
            }
            if (columns < shape.n() && columns > COLUMNS) {
                // As far aligned as all of them: FP8 products ask for it.
                columns -= columns % COLUMNS;
            }
            run = shape.withColumns(columns);
            on =
                    new MatmulArguments(
                            arguments.a(),
                            arguments.b(),
                            timing.address(),
                            arguments.alpha(),
                            arguments.bias(),
                            arguments.scaleA(),
                            arguments.scaleB());
        }
        return fastestOf(run, candidates, on);
    }

    /** In rounds over all candidates, so that a change of clocks meets all of them. */
    private MatmulAlgorithm fastestOf(
            MatmulShape shape, List<MatmulAlgorithm> candidates, MatmulArguments arguments) {
        List<MatmulAlgorithm> algorithms = new ArrayList<>();
        List<Runnable> runs = new ArrayList<>();
        for (MatmulAlgorithm candidate : candidates) {
            products.prepare(shape, candidate)
                    .ifPresent(
                            prepared -> {
                                algorithms.add(candidate);
                                runs.add(() -> prepared.run(arguments, stream));
                            });
        }
        double[] best = new double[runs.size()];
        int[] calls = new int[runs.size()];
        for (int i = 0; i < runs.size(); i++) {
            runs.get(i).run();
            best[i] = timer.milliseconds(1, runs.get(i));
            calls[i] = (int) Math.clamp(TIMING_MILLISECONDS / best[i], 1, MOST_CALLS);
        }
        for (int round = 0; round < ROUNDS; round++) {
            for (int i = 0; i < runs.size(); i++) {
                best[i] = Math.min(best[i], timer.milliseconds(calls[i], runs.get(i)));
            }
        }
        int fastest = 0;
        for (int i = 1; i < best.length; i++) {
            if (best[i] < MARGIN * best[fastest]) {
                fastest = i;
            }
        }
        return algorithms.isEmpty() ? candidates.get(0) : algorithms.get(fastest);
    }

    @Override
    public void close() {
        owned.close();
    }
}
