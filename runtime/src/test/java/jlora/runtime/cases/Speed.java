package jlora.runtime.cases;

import jlora.runtime.backend.Backend;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * How fast a kernel runs one pass of a case: the median over some calls after a warm-up.
 *
 * @param seconds of one call
 * @param bytes least memory traffic of one call
 * @param flops floating-point operations of one call
 */
public record Speed(String name, String pass, double seconds, long bytes, double flops) {
    private static final int LEAST_CALLS = 5;

    /** 10⁹ bytes per second, counting each operand once. */
    public double gigabytesPerSecond() {
        return bytes / seconds / 1e9;
    }

    /** 10⁹ floating-point operations per second. */
    public double gigaflopsPerSecond() {
        return flops / seconds / 1e9;
    }

    /** Times every pass of a case for about this long each, half of it warm-up. */
    public static <K> List<Speed> measure(
            OpCase<K> opCase, K kernel, Backend memory, double secondsPerPass) {
        Problem<K> problem = opCase.problem();
        List<Speed> speeds = new ArrayList<>();
        try (Placed<K> placed = new Placed<>(problem, memory, Placed.POISON_FINITE)) {
            for (Pass<K> pass : problem.passes()) {
                time(placed, kernel, pass, secondsPerPass / 2);
                double[] times = time(placed, kernel, pass, secondsPerPass / 2);
                Arrays.sort(times);
                double median = times[times.length / 2];
                speeds.add(
                        new Speed(problem.name(), pass.name(), median, pass.bytes(), pass.flops()));
            }
        }
        return speeds;
    }

    private static <K> double[] time(Placed<K> placed, K kernel, Pass<K> pass, double seconds) {
        List<Double> times = new ArrayList<>();
        double total = 0;
        while (total < seconds || times.size() < LEAST_CALLS) {
            long start = System.nanoTime();
            placed.call(kernel, pass);
            times.add((System.nanoTime() - start) / 1e9);
            total += times.getLast();
        }
        return times.stream().mapToDouble(Double::doubleValue).toArray();
    }
}
