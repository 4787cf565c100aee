package jlora.runtime.cases;

import java.util.random.RandomGenerator;

/**
 * What a tensor of a case holds at first; values are asked for row by row, from a generator of the
 * tensor's own.
 */
@FunctionalInterface
public interface Fill {
    double at(RandomGenerator random, long row, long col);

    /** Normal values with this standard deviation. */
    static Fill normal(double sigma) {
        return (random, row, col) -> sigma * random.nextGaussian();
    }

    /** Normal values around a mean. */
    static Fill normal(double mean, double sigma) {
        return (random, row, col) -> mean + sigma * random.nextGaussian();
    }

    /** Evenly distributed between two bounds. */
    static Fill uniform(double from, double to) {
        return (random, row, col) -> random.nextDouble(from, to);
    }

    /** Integers from 0 up to, and not including, a bound. */
    static Fill indices(int bound) {
        return (random, row, col) -> random.nextInt(bound);
    }

    /** One row of these values. */
    static Fill row(double... values) {
        return (random, row, col) -> values[(int) col];
    }

    /** One row of these integers. */
    static Fill row(int... values) {
        return (random, row, col) -> values[(int) col];
    }
}
