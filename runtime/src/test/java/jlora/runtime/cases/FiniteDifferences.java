package jlora.runtime.cases;

import jlora.runtime.backend.cpu.reference.Elements;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.LongStream;

/**
 * Holds the gradients that a kernel computes against fourth-order central differences of its own
 * forward pass: sampled elements one by one, and all of them at once along random directions. For
 * f32 cases on the host.
 */
public final class FiniteDifferences {
    private static final double STEP = 0x1p-5;
    private static final double RELATIVE = 2e-3;
    private static final int SAMPLES = 12;
    private static final int DIRECTIONS = 3;

    /** Of one forward pass: differences take about a hundred of them for each gradient. */
    private static final double MOST_FLOPS = 3e5;

    /** Of a gradient; where rounding of the forward pass exceeds it, a case shows nothing. */
    private static final double LARGEST_NOISE = 0.02;

    /** Rounding of one f32 result. */
    private static final double ROUNDING = 0x1p-24;

    private FiniteDifferences() {}

    /**
     * True when a case has gradients, is in f32, so that differences say something, and is small.
     */
    public static boolean applyTo(Problem<?> problem) {
        return !problem.gradients().isEmpty()
                && problem.objective().flops() <= MOST_FLOPS
                && problem.slots().stream().noneMatch(slot -> slot.dtype() == DType.BF16);
    }

    /** Throws an {@link AssertionError} that names case, gradient and element. */
    public static <K> void check(OpCase<K> opCase, K kernel) {
        Problem<K> problem = opCase.problem();
        try (ReferenceBackend host = new ReferenceBackend();
                Placed<K> placed = new Placed<>(problem, host, Placed.POISON_NAN);
                Placed<K> untouched = new Placed<>(problem, host, Placed.POISON_NAN)) {
            Objective<K> objective = new Objective<>(placed, kernel);
            for (Pass<K> pass : problem.passes()) {
                placed.call(kernel, pass);
            }
            placed.download();
            for (Problem.Gradient gradient : problem.gradients()) {
                Tensor before =
                        gradient.dInput().fill().isPresent()
                                ? untouched.mirror(gradient.dInput())
                                : null;
                double[] analytic = difference(placed.mirror(gradient.dInput()), before);
                new Check<>(objective, gradient, analytic).run();
            }
        }
    }

    /** What was added to a target, row by row. */
    private static double[] difference(Tensor after, Tensor before) {
        int cols = (int) after.cols();
        double[] difference = new double[(int) after.elements()];
        for (int i = 0; i < difference.length; i++) {
            double was = before == null ? 0 : Elements.get(before, i / cols, i % cols);
            difference[i] = Elements.get(after, i / cols, i % cols) - was;
        }
        return difference;
    }

    /** The loss as a function of the tensors on the host. */
    private record Objective<K>(Placed<K> placed, K kernel) {
        /** The loss, and the root of the sum of its squared terms: what rounding acts on. */
        private double[] at() {
            placed.upload();
            placed.call(kernel, placed.problem().objective());
            placed.download();
            double loss = 0;
            double squares = 0;
            for (Problem.Cotangent cotangent : placed.problem().cotangents()) {
                Tensor output = placed.mirror(cotangent.output());
                Optional<Tensor> dOutput = cotangent.dOutput().map(placed::mirror);
                for (long r = 0; r < output.rows(); r++) {
                    for (long c = 0; c < output.cols(); c++) {
                        double weight = dOutput.isPresent() ? Elements.get(dOutput.get(), r, c) : 1;
                        double term = weight * Elements.get(output, r, c);
                        loss += term;
                        squares += term * term;
                    }
                }
            }
            return new double[] {loss, Math.sqrt(squares)};
        }
    }

    /** One gradient of one case. */
    private record Check<K>(Objective<K> objective, Problem.Gradient gradient, double[] analytic) {
        private void run() {
            int count = analytic.length;
            double rms = 0;
            for (double value : analytic) {
                rms += value * value;
            }
            rms = Math.sqrt(rms / count);
            SplittableRandom random = new SplittableRandom(count);
            long[] samples =
                    LongStream.concat(
                                    LongStream.of(0, count - 1L),
                                    random.longs(Math.min(SAMPLES, count), 0, count))
                            .toArray();
            for (long sample : samples) {
                double[] direction = new double[count];
                direction[(int) sample] = 1;
                compare(direction, "element " + sample, rms);
            }
            for (int i = 0; i < DIRECTIONS; i++) {
                double[] direction = new double[count];
                for (int j = 0; j < count; j++) {
                    direction[j] = random.nextBoolean() ? 0.5 : -0.5;
                }
                compare(direction, "direction " + i, rms * Math.sqrt(count));
            }
        }

        private void compare(double[] direction, String what, double scale) {
            double expected = 0;
            for (int i = 0; i < direction.length; i++) {
                expected += direction[i] * analytic[i];
            }
            Tensor input = objective.placed().mirror(gradient.input());
            int cols = (int) input.cols();
            double[] origin = difference(input, null);
            double slope = 0;
            double terms = 0;
            double[] weights = {1, -8, 8, -1};
            int[] offsets = {-2, -1, 1, 2};
            for (int i = 0; i < offsets.length; i++) {
                for (int j = 0; j < direction.length; j++) {
                    double moved = origin[j] + offsets[i] * STEP * direction[j];
                    Elements.set(input, j / cols, j % cols, moved);
                }
                double[] loss = objective.at();
                slope += weights[i] * loss[0] / (12 * STEP);
                terms = Math.max(terms, loss[1]);
            }
            for (int j = 0; j < direction.length; j++) {
                Elements.set(input, j / cols, j % cols, origin[j]);
            }
            slope *= gradient.scale();
            double noise = 8 * Math.abs(gradient.scale()) * ROUNDING * terms / STEP;
            double limit = RELATIVE * Math.max(Math.abs(slope), scale) + noise;
            if (scale > 0 && noise > LARGEST_NOISE * scale) {
                throw new AssertionError(
                        objective.placed().problem().name()
                                + ": rounding hides "
                                + gradient.dInput().name());
            }
            if (!(Math.abs(slope - expected) <= limit)) {
                throw new AssertionError(
                        objective.placed().problem().name()
                                + ": "
                                + gradient.dInput().name()
                                + ", "
                                + what
                                + ", is "
                                + expected
                                + "; differences of the forward pass give "
                                + slope
                                + " within "
                                + limit);
            }
        }
    }
}
