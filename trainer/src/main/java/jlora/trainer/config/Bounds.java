package jlora.trainer.config;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An interval of numbers, written as in mathematics: {@code [1, inf)}, {@code (0, 1]}; a square
 * bracket includes its end.
 */
record Bounds(double low, boolean lowIncluded, double high, boolean highIncluded) {
    private static final Pattern FORM =
            Pattern.compile("([\\[(])\\s*(-?[\\d.eE+-]+)\\s*,\\s*([\\d.eE+-]+|inf)\\s*([\\])])");

    static Bounds parse(String text) {
        Matcher m = FORM.matcher(text);
        if (!m.matches()) {
            throw new IllegalArgumentException("'" + text + "' is not an interval");
        }
        double high =
                m.group(3).equals("inf")
                        ? Double.POSITIVE_INFINITY
                        : Double.parseDouble(m.group(3));
        return new Bounds(
                Double.parseDouble(m.group(2)),
                m.group(1).equals("["),
                high,
                m.group(4).equals("]"));
    }

    boolean contains(double value) {
        return Double.isFinite(value)
                && (lowIncluded ? value >= low : value > low)
                && (highIncluded ? value <= high : value < high);
    }

    /** The interval in words, to follow "must be". */
    String words() {
        String from = (lowIncluded ? "at least " : "greater than ") + number(low);
        if (high == Double.POSITIVE_INFINITY) {
            return from;
        }
        return from + " and " + (highIncluded ? "at most " : "less than ") + number(high);
    }

    /** The interval in symbols, for tables. */
    String symbols() {
        String from = (lowIncluded ? "≥ " : "> ") + number(low);
        if (high == Double.POSITIVE_INFINITY) {
            return from;
        }
        return from + ", " + (highIncluded ? "≤ " : "< ") + number(high);
    }

    static String number(double value) {
        return value == Math.rint(value) && Math.abs(value) < 1e15
                ? Long.toString((long) value)
                : Double.toString(value);
    }
}
