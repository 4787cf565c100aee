package jlora.trainer.bench;

import jlora.trainer.loop.PendingStep;

import java.util.Arrays;
import java.util.Optional;

/**
 * Whole optimizer steps, as a training run makes them: the next one is started before the last
 * one's loss is read.
 *
 * @param tokens of a step
 * @param seconds median of a step
 * @param firstStepSeconds from the first call to the first step's loss: libraries choose their
 *     algorithms in it
 * @param deviceSeconds median of the time that the device worked on a step; 0 where it is the
 *     processor itself
 * @param nodes kernels, copies and fills that the launches of a step start; 0 on a CPU
 * @param launches of recorded work per step
 * @param loss of the last step
 */
public record StepBench(
        long tokens,
        double seconds,
        double firstStepSeconds,
        double deviceSeconds,
        long nodes,
        int launches,
        double loss) {
    public double tokensPerSecond() {
        return tokens / seconds;
    }

    /** The share of a step in which the device works. */
    public double busy() {
        return Math.min(1, deviceSeconds / seconds);
    }

    /** Runs the steps. */
    public static StepBench of(BenchRun run, int warmup, int steps) {
        long start = System.nanoTime();
        run.start().get();
        double first = (System.nanoTime() - start) / 1e9;
        for (int i = 1; i < warmup; i++) {
            run.start().get();
        }
        double[] seconds = new double[steps];
        double loss = Double.NaN;
        Optional<PendingStep> last = Optional.empty();
        run.backend().synchronize();
        long before = System.nanoTime();
        for (int i = 0; i <= steps; i++) {
            PendingStep next = run.start();
            if (last.isPresent()) {
                loss = last.get().get().loss();
                long now = System.nanoTime();
                seconds[i - 1] = (now - before) / 1e9;
                before = now;
            }
            last = Optional.of(next);
        }
        last.orElseThrow().get();
        double[] device = new double[run.backend().asynchronous() ? steps : 0];
        for (int i = 0; i < device.length; i++) {
            device[i] = run.engine().repeatMilliseconds() / 1e3;
        }
        return new StepBench(
                run.tokens(),
                median(seconds),
                first,
                device.length == 0 ? 0 : median(device),
                run.engine().nodes().stream().mapToLong(n -> n).sum(),
                run.engine().launches(),
                loss);
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }
}
