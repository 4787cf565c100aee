package jlora.trainer.bench;

import java.util.Locale;
import java.util.OptionalDouble;

/** How the memory-throughput suite writes its numbers. */
final class Rates {
    private Rates() {}

    /** A word in a cell of a Markdown table. */
    static String cell(String word) {
        return word.replace("|", "\\|");
    }

    /** In the unit that leaves few digits before the point. */
    static String flops(double perSecond) {
        return perSecond >= 1e12
                ? format("%.1f TFLOP/s", perSecond / 1e12)
                : format("%.1f GFLOP/s", perSecond / 1e9);
    }

    static String cache(Ceilings ceilings) {
        return ceilings.cacheBytes() == 0
                ? "not known"
                : format("%.0f MiB", ceilings.cacheBytes() / (double) (1 << 20));
    }

    static String megabytes(long bytes) {
        return format(bytes < 100_000 ? "%.4f" : "%.1f", bytes / 1e6);
    }

    static String milliseconds(double value) {
        return format(value < 0.1 ? "%.4f" : "%.3f", value);
    }

    static String percent(double share) {
        return format(share < 0.0995 ? "%.1f%%" : "%.0f%%", 100 * share);
    }

    /** A share, or what stands in its place where a cache served the call. */
    static String ofCopy(KernelRow row, Ceilings ceilings) {
        OptionalDouble share = row.ofCopy(ceilings);
        if (share.isEmpty()) {
            return "in cache";
        }
        String percent = percent(share.getAsDouble());
        return row.inCache(ceilings) ? "at most " + percent : percent;
    }

    /** The share of what limits it, and which limit that is. */
    static String ofLimit(KernelRow row, Ceilings ceilings) {
        if (!row.memoryBound(ceilings)) {
            return percent(row.ofLimit(ceilings)) + " of the product";
        }
        String share = ofCopy(row, ceilings);
        return row.ofCopy(ceilings).isEmpty() ? share : share + " of the copy";
    }

    static String limit(KernelRow row, Ceilings ceilings) {
        return row.memoryBound(ceilings) ? "memory" : "arithmetic";
    }

    static String format(String format, Object... values) {
        return String.format(Locale.ROOT, format, values);
    }
}
