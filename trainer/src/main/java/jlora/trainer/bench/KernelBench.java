package jlora.trainer.bench;

import jlora.runtime.backend.Backend;
import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Step;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * Times every kernel call of a training step by itself, on the very tensors of the step: an op that
 * is new in the plans is here without another line.
 */
public final class KernelBench {
    /** Calls that do the same amount of the same work. */
    private record Kind(String op, String shape, long bytes, long flops) {
        static Kind of(Step step) {
            return new Kind(step.label(), shape(step), step.bytes(), step.flops());
        }

        private static String shape(Step step) {
            Tensor largest =
                    Stream.concat(step.writes().stream(), step.reads().stream())
                            .max(Comparator.comparingLong(Tensor::elements))
                            .orElseThrow();
            return largest.rows() + " x " + largest.cols();
        }
    }

    /** Milliseconds that one call should be repeated for, so that short ones are exact too. */
    private static final double ROUND = 2;

    private static final int ROUNDS = 5;
    private static final int MOST_CALLS = 200;

    private KernelBench() {}

    /** All rows, in the order of the step. */
    public static List<KernelRow> rows(BenchRun run) {
        // Two whole steps first: memory holds what a step's memory holds, and everything is warm.
        run.start().get();
        run.start().get();
        Map<Kind, Integer> calls = new LinkedHashMap<>();
        List<KernelRow> rows = new ArrayList<>();
        for (Plan plan : run.plans()) {
            Map<Kind, Double> times = new LinkedHashMap<>();
            // Each call is timed at its place in the plan: its operands hold what they should.
            for (Step step : plan.steps()) {
                Kind kind = Kind.of(step);
                calls.merge(kind, 1, Integer::sum);
                if (!times.containsKey(kind)) {
                    times.put(kind, median(run.backend(), step));
                } else {
                    step.action().run(run.backend().kernels());
                }
            }
            times.forEach(
                    (kind, milliseconds) ->
                            rows.add(
                                    new KernelRow(
                                            kind.op,
                                            kind.shape,
                                            calls.get(kind),
                                            kind.bytes,
                                            kind.flops,
                                            milliseconds)));
        }
        return rows;
    }

    private static double median(Backend backend, Step step) {
        Runnable once = () -> step.action().run(backend.kernels());
        double first = Math.max(1e-4, backend.milliseconds(once));
        int repeats = (int) Math.clamp(Math.ceil(ROUND / first), 1, MOST_CALLS);
        double[] rounds = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            rounds[i] =
                    backend.milliseconds(
                                    () -> {
                                        for (int r = 0; r < repeats; r++) {
                                            once.run();
                                        }
                                    })
                            / repeats;
        }
        Arrays.sort(rounds);
        return rounds[ROUNDS / 2];
    }
}
