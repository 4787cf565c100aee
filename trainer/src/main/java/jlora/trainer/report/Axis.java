package jlora.trainer.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.DoubleStream;

/**
 * A scale of one chart axis: its ends, its ticks at round numbers, and where between the ends a
 * value lies.
 */
record Axis(double low, double high, boolean logarithmic, List<Double> ticks) {
    /**
     * Values that span more than this factor are shown on a logarithmic scale: below it, detail
     * stays visible.
     */
    private static final double LOGARITHMIC_SPAN = 40;

    Axis {
        ticks = List.copyOf(ticks);
    }

    /** How values choose their scale. */
    enum Scale {
        /** From zero: for amounts, where a cut axis would exaggerate. */
        FROM_ZERO,
        /** Around the values, logarithmic if all are positive and they span far. */
        FITTED
    }

    /** A scale whose ends are the ends of the values. */
    static Axis exact(double low, double high, int about) {
        double top = high > low ? high : low + 1;
        double step = niceStep((top - low) / about);
        List<Double> ticks = new ArrayList<>();
        for (long i = (long) Math.ceil(low / step - 1e-9); i * step <= top + step * 1e-9; i++) {
            ticks.add(i * step);
        }
        return new Axis(low, top, false, ticks);
    }

    /** A scale with round ends and about that many ticks that shows all finite values. */
    static Axis around(double[] values, int about, Scale scale) {
        double low = DoubleStream.of(values).filter(Double::isFinite).min().orElse(0);
        double high = DoubleStream.of(values).filter(Double::isFinite).max().orElse(1);
        if (scale == Scale.FITTED && low > 0 && high / low > LOGARITHMIC_SPAN) {
            return logarithmic(low, high);
        }
        if (scale == Scale.FROM_ZERO) {
            low = Math.min(low, 0);
            high = Math.max(high, 0);
        }
        if (high - low < 1e-9 * Math.max(Math.abs(high), 1e-300)) {
            double room = high == 0 ? 1 : Math.abs(high) * 0.1;
            low -= room;
            high += room;
        } else if (low > 0 && low < high * 0.4) {
            low = 0; // Close enough to zero that leaving zero out would exaggerate.
        }
        double step = niceStep((high - low) / about);
        long first = (long) Math.floor(low / step + 1e-9);
        long last = (long) Math.ceil(high / step - 1e-9);
        List<Double> ticks = new ArrayList<>();
        for (long i = first; i <= last; i++) {
            ticks.add(i * step);
        }
        return new Axis(first * step, last * step, false, ticks);
    }

    private static Axis logarithmic(double low, double high) {
        int first = (int) Math.floor(Math.log10(low));
        int last = (int) Math.ceil(Math.log10(high));
        List<Double> ticks = new ArrayList<>();
        int every = Math.max(1, Math.ceilDiv(last - first, 6));
        for (int i = first; i <= last; i += every) {
            ticks.add(Math.pow(10, i));
        }
        return new Axis(Math.pow(10, first), Math.pow(10, last), true, ticks);
    }

    /** 1, 2 or 5 times a power of ten, at least the rough step. */
    private static double niceStep(double rough) {
        double power = Math.pow(10, Math.floor(Math.log10(rough)));
        double lead = rough / power;
        return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
    }

    /** Where the value lies: 0 at the low end, 1 at the high end. */
    double position(double value) {
        return logarithmic
                ? Math.log(value / low) / Math.log(high / low)
                : (value - low) / (high - low);
    }

    /** The ticks as text, with as many digits as it takes to tell them apart. */
    List<String> labels() {
        for (int digits = 4; ; digits++) {
            int shown = digits;
            List<String> labels = ticks.stream().map(t -> label(t, shown)).toList();
            if (digits == 15 || labels.stream().distinct().count() == labels.size()) {
                return labels;
            }
        }
    }

    /** A number as short as its size allows, with at most four digits that count. */
    static String label(double value) {
        return label(value, 4);
    }

    private static String label(double value, int digits) {
        double size = Math.abs(value);
        if (size == 0) {
            return "0";
        }
        if (size < 1e-3 || size >= 1e12) {
            String[] parts =
                    String.format(Locale.ROOT, "%." + (digits - 1) + "e", value).split("e");
            return trim(parts[0]) + "e" + Integer.parseInt(parts[1]);
        }
        if (size >= 1e6) {
            return decimal(value / 1e6, digits) + "M";
        }
        return size >= 1e4 ? decimal(value / 1e3, digits) + "k" : decimal(value, digits);
    }

    private static String decimal(double value, int digits) {
        int decimals = Math.max(digits - 1 - (int) Math.floor(Math.log10(Math.abs(value))), 0);
        return trim(String.format(Locale.ROOT, "%." + decimals + "f", value));
    }

    private static String trim(String decimal) {
        return decimal.contains(".") ? decimal.replaceAll("\\.?0+$", "") : decimal;
    }
}
