package jlora.trainer.job;

import java.util.Locale;

/** Sizes as people read them. */
public final class Bytes {
    private Bytes() {}

    /** Such as {@code 94.6 GiB} or {@code 512 B}. */
    public static String text(long bytes) {
        if (bytes < 1024) {
            return bytes + " B";
        }
        double value = bytes;
        String[] units = {"B", "KiB", "MiB", "GiB", "TiB"};
        int unit = 0;
        while (value >= 1024 && unit < units.length - 1) {
            value /= 1024;
            unit++;
        }
        return String.format(Locale.ROOT, "%.2f %s", value, units[unit]);
    }
}
