package jlora.trainer.report;

import java.util.List;
import java.util.stream.DoubleStream;
import java.util.stream.Stream;

/**
 * Horizontal bars against one limit, as SVG. Each bar has its name before it, its value in words
 * behind it, and more words when hovered over. Bars that leave the chart end at its edge.
 */
public final class BarChart {
    private static final double WIDTH = 960;
    private static final double LEFT = 330;
    private static final double RIGHT = 185;
    private static final double TOP = 24;
    private static final double BOTTOM = 36;
    private static final double ROW = 22;
    private static final double THICKNESS = 13;

    /**
     * One bar.
     *
     * @param value its length; 0 is drawn for what is not finite or negative
     * @param label the value in words
     * @param detail lines that hovering shows
     * @param aside drawn faintly: it cannot be compared with the limit, and does not stretch the
     *     scale
     */
    public record Bar(String name, double value, String label, String detail, boolean aside) {
        private double length() {
            return Double.isFinite(value) ? Math.max(value, 0) : 0;
        }
    }

    private final String name;
    private final String unit;
    private final String limitName;
    private final double limit;
    private final List<Bar> bars;
    private final Axis axis;

    /**
     * @param name what the bars show, for readers who do not see them
     * @param unit of the values
     * @param limit where the line is drawn that bars are to reach
     */
    BarChart(String name, String unit, String limitName, double limit, List<Bar> bars) {
        this.name = name;
        this.unit = unit;
        this.limitName = limitName;
        this.limit = limit;
        this.bars = List.copyOf(bars);
        double[] values =
                DoubleStream.concat(
                                DoubleStream.of(limit),
                                bars.stream().filter(b -> !b.aside).mapToDouble(Bar::length))
                        .toArray();
        this.axis = Axis.around(values, 6, Axis.Scale.FROM_ZERO);
    }

    String svg() {
        double height = TOP + ROW * bars.size() + BOTTOM;
        Markup svg = new Markup();
        svg.open(
                "svg",
                "class",
                "chart bars",
                "viewBox",
                "0 0 " + Markup.number(WIDTH) + " " + Markup.number(height),
                "role",
                "img",
                "aria-label",
                name + ", " + unit + ", against " + limitName + " of " + Axis.label(limit));
        grid(svg, height - BOTTOM);
        for (int i = 0; i < bars.size(); i++) {
            bar(svg, bars.get(i), TOP + ROW * i);
        }
        limit(svg, height - BOTTOM);
        return svg.close("svg").toString();
    }

    private double x(double value) {
        return LEFT + (WIDTH - LEFT - RIGHT) * Math.min(1, axis.position(value));
    }

    private void grid(Markup svg, double bottom) {
        List<String> labels = axis.labels();
        for (int i = 0; i < labels.size(); i++) {
            double x = x(axis.ticks().get(i));
            line(svg, i == 0 ? "axis" : "grid", x, TOP - 4, bottom);
            text(svg, labels.get(i), "tick", x, bottom + 15, "middle");
        }
        text(svg, unit, "note", (LEFT + WIDTH - RIGHT) / 2, bottom + 31, "middle");
    }

    private void bar(Markup svg, Bar bar, double top) {
        svg.open("g", "class", "row");
        // As wide as the chart, so that short bars are easy to point at.
        svg.empty("rect", "class", "hit", "x", 0.0, "y", top, "width", WIDTH, "height", ROW);
        text(svg, bar.name(), "name", LEFT - 8, top + ROW / 2 + 4, "end");
        svg.empty(
                "rect",
                "class",
                bar.aside() ? "bar aside" : "bar",
                "x",
                LEFT,
                "y",
                top + (ROW - THICKNESS) / 2,
                "width",
                x(bar.length()) - LEFT,
                "height",
                THICKNESS);
        text(svg, bar.label(), "value", WIDTH - RIGHT + 10, top + ROW / 2 + 4, "start");
        String title =
                Stream.of(bar.name(), bar.label(), bar.detail())
                        .filter(s -> !s.isBlank())
                        .reduce((a, b) -> a + "\n" + b)
                        .orElse("");
        svg.element("title", title).close("g");
    }

    private void limit(Markup svg, double bottom) {
        line(svg, "limit", x(limit), TOP - 6, bottom);
        text(svg, limitName, "limit-name", x(limit), TOP - 11, "middle");
    }

    private static void line(Markup svg, String style, double x, double top, double bottom) {
        svg.empty("line", "class", style, "x1", x, "x2", x, "y1", top, "y2", bottom);
    }

    private static void text(
            Markup svg, String content, String style, double x, double y, String anchor) {
        svg.element("text", content, "class", style, "x", x, "y", y, "text-anchor", anchor);
    }
}
