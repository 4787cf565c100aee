package jlora.trainer.bench;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.RunMemory;
import jlora.trainer.report.MemoryComparison;
import jlora.trainer.report.MemoryItem;

import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalLong;
import java.util.function.Predicate;

/**
 * What {@code jlora bench memory} measures: bytes per second of every kernel against a copy on the
 * same device, and planned memory against what is counted.
 *
 * @param device as the backend describes itself
 * @param model folder of the geometry
 * @param tokens of a step
 * @param stepMilliseconds median of whole steps
 * @param step the kernels of a step, in its order
 * @param outside kernels that no step calls
 * @param loadBefore load average of this machine before anything was measured; NaN if not known
 * @param plan lines of the memory plan
 * @param memory the plan against what is counted, after whole steps
 */
public record MemorySuite(
        String device,
        DType dtype,
        String model,
        long tokens,
        Ceilings ceilings,
        double stepMilliseconds,
        List<KernelRow> step,
        List<KernelRow> outside,
        double loadBefore,
        List<MemoryItem> plan,
        MemoryComparison memory) {
    private static final int STEPS = 3;

    public MemorySuite {
        step = List.copyOf(step);
        outside = List.copyOf(outside);
        plan = List.copyOf(plan);
    }

    /** Measures a model's training step on a backend. */
    public static MemorySuite measure(Backend backend, RunConfig config, DType dtype) {
        double load = ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage();
        Ceilings before = Ceilings.measure(backend, dtype);
        MemorySuite suite;
        try (BenchRun run = BenchRun.open(backend, config)) {
            List<KernelRow> step = KernelBench.rows(run);
            double milliseconds = stepMilliseconds(run);
            // Not the peak of the process: the copies of the ceilings are in that.
            MemoryComparison memory =
                    RunMemory.of(run.job().plan(), run.session(), OptionalLong.empty());
            suite =
                    new MemorySuite(
                            backend.describe(),
                            dtype,
                            run.job().model().folder().getFileName().toString(),
                            run.tokens(),
                            before,
                            milliseconds,
                            step,
                            OutsideKernels.rows(run),
                            load < 0 ? Double.NaN : load,
                            run.job().plan().items(),
                            memory);
        }
        // Other load only ever lowers a ceiling, so the higher of two is the truer one.
        return suite.against(before.best(Ceilings.measure(backend, dtype)));
    }

    private static double stepMilliseconds(BenchRun run) {
        run.start().get();
        double[] milliseconds = new double[STEPS];
        for (int i = 0; i < STEPS; i++) {
            long start = System.nanoTime();
            run.start().get();
            milliseconds[i] =
                    run.backend().asynchronous()
                            ? run.engine().repeatMilliseconds()
                            : (System.nanoTime() - start) / 1e6;
        }
        Arrays.sort(milliseconds);
        return milliseconds[STEPS / 2];
    }

    private MemorySuite against(Ceilings other) {
        return new MemorySuite(
                device,
                dtype,
                model,
                tokens,
                other,
                stepMilliseconds,
                step,
                outside,
                loadBefore,
                plan,
                memory);
    }

    /** True when others had work for at least half a processor: every rate is then too low. */
    public boolean busy() {
        return loadBefore >= 0.5;
    }

    /** Milliseconds of a step's kernels, one after the other. */
    public double kernelMilliseconds() {
        return step.stream().mapToDouble(KernelRow::millisecondsPerStep).sum();
    }

    /** The share of the kernels' time that a row's calls take. */
    public double share(KernelRow row) {
        return row.millisecondsPerStep() / kernelMilliseconds();
    }

    /** Kernels of a step that memory limits, by the time that a step loses in them. */
    public List<KernelRow> memoryRows() {
        return sorted(row -> row.memoryBound(ceilings));
    }

    /** Kernels of a step that arithmetic limits, by the time that a step loses in them. */
    public List<KernelRow> arithmeticRows() {
        return sorted(row -> !row.memoryBound(ceilings));
    }

    private List<KernelRow> sorted(Predicate<KernelRow> which) {
        return step.stream()
                .filter(which)
                .sorted(
                        Comparator.comparingDouble(
                                (KernelRow row) -> -row.lostMilliseconds(ceilings)))
                .toList();
    }

    /** The share of the kernels' time that goes to those which memory limits. */
    public double memoryShare() {
        return memoryRows().stream().mapToDouble(this::share).sum();
    }
}
