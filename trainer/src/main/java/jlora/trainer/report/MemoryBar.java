package jlora.trainer.report;

import java.util.List;
import java.util.Locale;

/** The memory plan as one stacked bar and a table that is its legend. */
final class MemoryBar {
    private static final double WIDTH = 1000;
    private static final double HEIGHT = 44;
    private static final int COLOURS = 8;
    private static final String[] UNITS = {"B", "KiB", "MiB", "GiB", "TiB"};

    private final List<MemoryItem> items;
    private final long total;

    MemoryBar(List<MemoryItem> items) {
        this.items = items;
        this.total = items.stream().mapToLong(MemoryItem::bytes).sum();
    }

    void write(Markup page) {
        page.open(
                "svg",
                "class",
                "memory",
                "viewBox",
                "0 0 " + Markup.number(WIDTH) + " " + Markup.number(HEIGHT),
                "preserveAspectRatio",
                "none",
                "role",
                "img",
                "aria-label",
                "memory plan, " + bytes(total) + " in all");
        double at = 0;
        for (int i = 0; i < items.size(); i++) {
            MemoryItem item = items.get(i);
            double width = total == 0 ? 0 : WIDTH * item.bytes() / total;
            if (width > 0) {
                page.open(
                        "rect", "class", colour(i), "x", at, "y", 0.0, "width", width, "height",
                        HEIGHT);
                page.element(
                        "title",
                        item.name() + "\n" + bytes(item.bytes()) + ", " + share(item.bytes()));
                page.close("rect");
            }
            at += width;
        }
        page.close("svg");
        page.open("table", "class", "legend").open("thead").open("tr");
        page.element("th", "item")
                .element("th", "size", "class", "n")
                .element("th", "share", "class", "n");
        page.element("th", "bytes", "class", "n").close("tr").close("thead").open("tbody");
        for (int i = 0; i < items.size(); i++) {
            MemoryItem item = items.get(i);
            page.open("tr").open("td").open("span", "class", "swatch " + colour(i)).close("span");
            page.text(item.name()).close("td");
            cells(page, item.bytes());
        }
        page.close("tbody").open("tfoot").open("tr").element("td", "total");
        cells(page, total);
        page.close("tfoot").close("table");
    }

    private void cells(Markup page, long bytes) {
        page.element("td", bytes(bytes), "class", "n").element("td", share(bytes), "class", "n");
        page.element("td", String.format(Locale.ROOT, "%,d", bytes), "class", "n").close("tr");
    }

    private static String colour(int item) {
        return "m" + item % COLOURS;
    }

    private String share(long bytes) {
        return total == 0 ? "0%" : String.format(Locale.ROOT, "%.1f%%", 100.0 * bytes / total);
    }

    /** A size in the largest binary unit below it. */
    static String bytes(long bytes) {
        double value = bytes;
        int unit = 0;
        while (value >= 1024 && unit < UNITS.length - 1) {
            value /= 1024;
            unit++;
        }
        return unit == 0 ? bytes + " B" : String.format(Locale.ROOT, "%.2f %s", value, UNITS[unit]);
    }
}
