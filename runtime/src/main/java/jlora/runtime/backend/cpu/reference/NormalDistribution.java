package jlora.runtime.backend.cpu.reference;

/** The standard normal distribution in double precision. */
final class NormalDistribution {
    /** Below, the power series converges fast; above, the continued fraction does. */
    private static final double SERIES_LIMIT = 3;

    private static final int FRACTION_TERMS = 120;

    private NormalDistribution() {}

    /** φ(x). */
    static double density(double x) {
        return Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
    }

    /** Φ(x), with full relative precision in the lower tail too. */
    static double cumulative(double x) {
        if (Double.isNaN(x)) {
            return x;
        }
        if (Math.abs(x) < SERIES_LIMIT) {
            return 0.5 + density(x) * series(x);
        }
        double tail = density(x) * fraction(Math.abs(x));
        return x < 0 ? tail : 1 - tail;
    }

    /** x + x³/3 + x⁵/(3·5) + x⁷/(3·5·7) + … (Abramowitz and Stegun, 26.2.11). */
    private static double series(double x) {
        double term = x;
        double sum = x;
        for (int n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
            term *= x * x / (2 * n + 1);
            sum += term;
        }
        return sum;
    }

    /** 1/(x + 1/(x + 2/(x + 3/(x + …)))) (Abramowitz and Stegun, 26.2.14). */
    private static double fraction(double x) {
        double value = x;
        for (int n = FRACTION_TERMS; n > 0; n--) {
            value = x + n / value;
        }
        return 1 / value;
    }
}
