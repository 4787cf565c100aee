package jlora.bench.step;

import jlora.runtime.backend.Backend;
import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Step;
import jlora.trainer.bench.Ceilings;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Adds up what plans spend on each op while it runs them. */
final class OpTimes {
    /** One kernel call's worth of work, and how often and how long it was done. */
    private record Work(String label, long flops, long bytes) {}

    private static final class Sum {
        private long calls;
        private long nanos;
    }

    /**
     * All calls of one op.
     *
     * @param floorSeconds what they would take at the processor's ceilings, call by call
     */
    record Op(
            String label,
            long calls,
            double seconds,
            double floorSeconds,
            double flops,
            double bytes) {}

    private final Map<Work, Sum> sums = new HashMap<>();
    private long last;

    /** Runs a plan and times its steps. */
    void run(Plan plan, Backend backend) {
        backend.synchronize();
        last = System.nanoTime();
        plan.run(backend, step -> add(step, backend));
    }

    private void add(Step step, Backend backend) {
        backend.synchronize();
        long now = System.nanoTime();
        Sum sum =
                sums.computeIfAbsent(
                        new Work(step.label(), step.flops(), step.bytes()), _ -> new Sum());
        sum.calls++;
        sum.nanos += now - last;
        last = System.nanoTime();
    }

    /** Forgets what was timed so far. */
    void clear() {
        sums.clear();
    }

    /** By op, the longest first. */
    List<Op> ops(Ceilings ceilings) {
        Map<String, Op> ops = new HashMap<>();
        sums.forEach(
                (work, sum) ->
                        ops.merge(
                                work.label,
                                new Op(
                                        work.label,
                                        sum.calls,
                                        sum.nanos / 1e9,
                                        sum.calls * ceilings.seconds(work.flops, work.bytes),
                                        (double) sum.calls * work.flops,
                                        (double) sum.calls * work.bytes),
                                OpTimes::add));
        List<Op> sorted = new ArrayList<>(ops.values());
        sorted.sort((a, b) -> Double.compare(b.seconds, a.seconds));
        return sorted;
    }

    private static Op add(Op a, Op b) {
        return new Op(
                a.label,
                a.calls + b.calls,
                a.seconds + b.seconds,
                a.floorSeconds + b.floorSeconds,
                a.flops + b.flops,
                a.bytes + b.bytes);
    }
}
