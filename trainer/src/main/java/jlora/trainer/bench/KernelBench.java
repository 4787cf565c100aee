package jlora.trainer.bench;

import jlora.runtime.backend.Backend;
import jlora.runtime.plan.Step;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Times every kernel call of a training step by itself, on the very tensors of the step: an op that
 * is new in the plans is here without another line.
 */
public final class KernelBench {
    /** Calls that do the same amount of the same work. */
    private record Kind(String op, String shape, long bytes, long operandBytes, long flops) {
        static Kind of(Step step) {
            return new Kind(
                    step.label(), shape(step), step.bytes(), step.operandBytes(), step.flops());
        }

        /** The largest tensor written and the largest read, which tell products apart. */
        private static String shape(Step step) {
            String to = largest(step.writes());
            String from = largest(step.reads());
            if (to.isEmpty() || from.isEmpty() || to.equals(from)) {
                return to.isEmpty() ? from : to;
            }
            return to + " ← " + from;
        }

        private static String largest(List<Tensor> tensors) {
            return tensors.stream()
                    .max(Comparator.comparingLong(Tensor::elements))
                    .map(t -> t.rows() + " x " + t.cols())
                    .orElse("");
        }
    }

    /** How often a kind of call comes in a plan, and how long one takes. */
    private static final class Timed {
        private int calls;
        private double milliseconds;
    }

    private static final int ROUNDS = 5;
    private static final int MOST_CALLS = 1000;

    /** Whole steps before anything is timed. */
    private static final int STEPS = 2;

    private KernelBench() {}

    /** All rows, in the order of the step. */
    public static List<KernelRow> rows(BenchRun run) {
        // Memory then holds what a step's memory holds.
        for (int i = 0; i < STEPS; i++) {
            run.start().get();
        }
        List<KernelRow> rows = new ArrayList<>();
        for (BenchRun.Part part : run.parts()) {
            Map<Kind, Timed> kinds = new LinkedHashMap<>();
            // Each call is timed at its place in the plan: its operands hold what they should.
            for (Step step : part.plan().steps()) {
                if (step.bytes() == 0) {
                    // A wait is no kernel.
                    step.action().run(run.backend().kernels());
                    continue;
                }
                Timed timed = kinds.computeIfAbsent(Kind.of(step), _ -> new Timed());
                Runnable call = () -> step.action().run(run.backend().kernels());
                if (timed.calls++ == 0) {
                    timed.milliseconds = median(run.backend(), call);
                } else {
                    call.run();
                }
            }
            kinds.forEach(
                    (kind, timed) ->
                            rows.add(
                                    new KernelRow(
                                            kind.op,
                                            kind.shape,
                                            timed.calls * part.runs(),
                                            kind.bytes,
                                            kind.operandBytes,
                                            kind.flops,
                                            timed.milliseconds)));
        }
        return rows;
    }

    /**
     * Milliseconds of one call, the median of rounds. A round repeats it for long enough: on a GPU
     * to outlast the cost of a launch, on a CPU that of being interrupted. There calls also come
     * first that are not counted, until the JIT compiler has had its time.
     */
    static double median(Backend backend, Runnable once) {
        boolean gpu = backend.asynchronous();
        double round = gpu ? 2 : 20;
        double warmUp = gpu ? 0 : 300;
        double first = 0;
        double spent = 0;
        for (int i = 0; i == 0 || i < MOST_CALLS && spent < warmUp; i++) {
            first = Math.max(1e-4, backend.milliseconds(once));
            spent += first;
        }
        int repeats = (int) Math.clamp(Math.ceil(round / first), 1, MOST_CALLS);
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
