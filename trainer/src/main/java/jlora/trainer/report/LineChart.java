package jlora.trainer.report;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.stream.DoubleStream;

/**
 * A chart of one or more series over the steps, as SVG. Hovering anywhere over the plot names the
 * values of the nearest step. Values that are not finite leave a gap.
 */
final class LineChart {
    private static final double WIDTH = 560;
    private static final double HEIGHT = 250;
    private static final double LEFT = 58;
    private static final double RIGHT = 12;
    private static final double TOP = 12;
    private static final double BOTTOM = 34;

    /** More points than this cannot be told apart at the chart's width. */
    private static final int MOST_POINTS = 400;

    private static final int MOST_HOVER_STRIPS = 140;

    /**
     * One line of the chart.
     *
     * @param style CSS class of its colour
     * @param markers whether each point gets a dot
     * @param smooth whether a smoothed line is drawn over a faint raw one
     */
    record Series(
            String name,
            String style,
            boolean markers,
            boolean smooth,
            double[] steps,
            double[] values) {
        Series {
            if (steps.length != values.length) {
                throw new IllegalArgumentException(
                        steps.length + " steps, " + values.length + " values");
            }
        }
    }

    private final String name;
    private final List<Series> series;
    private final Axis x;
    private final Axis y;

    LineChart(String name, Axis.Scale scale, List<Series> series) {
        this.name = name;
        this.series = List.copyOf(series);
        double[] steps = series.stream().flatMapToDouble(s -> DoubleStream.of(s.steps())).toArray();
        double[] values =
                series.stream().flatMapToDouble(s -> DoubleStream.of(s.values())).toArray();
        this.x =
                Axis.exact(
                        DoubleStream.of(steps).min().orElse(0),
                        DoubleStream.of(steps).max().orElse(1),
                        6);
        this.y = Axis.around(values, 5, scale);
    }

    String svg() {
        Markup svg = new Markup();
        svg.open(
                "svg",
                "class",
                "chart",
                "viewBox",
                "0 0 " + Markup.number(WIDTH) + " " + Markup.number(HEIGHT),
                "role",
                "img",
                "aria-label",
                name + " over the steps" + (y.logarithmic() ? ", logarithmic scale" : ""));
        axes(svg);
        if (series.stream()
                .noneMatch(s -> DoubleStream.of(s.values()).anyMatch(Double::isFinite))) {
            svg.element(
                    "text",
                    "nothing was logged",
                    "class",
                    "note",
                    "x",
                    WIDTH / 2,
                    "y",
                    HEIGHT / 2,
                    "text-anchor",
                    "middle");
        }
        for (Series s : series) {
            line(svg, s);
        }
        hover(svg);
        return svg.close("svg").toString();
    }

    private double x(double step) {
        return LEFT + (WIDTH - LEFT - RIGHT) * x.position(step);
    }

    private double y(double value) {
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y.position(value);
    }

    private void axes(Markup svg) {
        List<String> labels = y.labels();
        for (int i = 0; i < labels.size(); i++) {
            double tick = y.ticks().get(i);
            svg.empty(
                    "line",
                    "class",
                    "grid",
                    "x1",
                    LEFT,
                    "x2",
                    WIDTH - RIGHT,
                    "y1",
                    y(tick),
                    "y2",
                    y(tick));
            svg.element(
                    "text",
                    labels.get(i),
                    "class",
                    "tick",
                    "x",
                    LEFT - 8,
                    "y",
                    y(tick) + 4,
                    "text-anchor",
                    "end");
        }
        double bottom = HEIGHT - BOTTOM;
        svg.empty(
                "line",
                "class",
                "axis",
                "x1",
                LEFT,
                "x2",
                WIDTH - RIGHT,
                "y1",
                bottom,
                "y2",
                bottom);
        for (double tick : x.ticks()) {
            if (tick == Math.rint(tick)) {
                svg.empty(
                        "line",
                        "class",
                        "axis",
                        "x1",
                        x(tick),
                        "x2",
                        x(tick),
                        "y1",
                        bottom,
                        "y2",
                        bottom + 4);
                svg.element(
                        "text",
                        Axis.label(tick),
                        "class",
                        "tick",
                        "x",
                        x(tick),
                        "y",
                        bottom + 17,
                        "text-anchor",
                        "middle");
            }
        }
        svg.element(
                "text",
                "step" + (y.logarithmic() ? " (vertical scale logarithmic)" : ""),
                "class",
                "note",
                "x",
                (LEFT + WIDTH - RIGHT) / 2,
                "y",
                HEIGHT - 3,
                "text-anchor",
                "middle");
    }

    private void line(Markup svg, Series s) {
        Series shown = thinned(s);
        boolean smooth = s.smooth() && s.values().length >= 20;
        path(svg, shown, s.style() + (smooth ? " raw" : ""));
        if (smooth) {
            path(svg, thinned(smoothed(s)), s.style());
        }
        if (s.markers() || shown.values().length == 1) {
            for (int i = 0; i < shown.values().length; i++) {
                if (Double.isFinite(shown.values()[i])) {
                    svg.empty(
                            "circle",
                            "class",
                            "dot " + s.style(),
                            "cx",
                            x(shown.steps()[i]),
                            "cy",
                            y(shown.values()[i]),
                            "r",
                            3.0);
                }
            }
        }
    }

    private void path(Markup svg, Series s, String style) {
        StringBuilder d = new StringBuilder();
        boolean pen = false;
        for (int i = 0; i < s.values().length; i++) {
            if (!Double.isFinite(s.values()[i])) {
                pen = false;
                continue;
            }
            d.append(pen ? "L" : "M");
            d.append(Markup.number(x(s.steps()[i])))
                    .append(' ')
                    .append(Markup.number(y(s.values()[i])));
            pen = true;
        }
        if (!d.isEmpty()) {
            svg.empty("path", "class", "line " + style, "d", d);
        }
    }

    /** Keeps the lowest and the highest value of each stretch, so that no spike is lost. */
    private static Series thinned(Series s) {
        int n = s.values().length;
        if (n <= MOST_POINTS) {
            return s;
        }
        List<Integer> kept = new ArrayList<>();
        int stretches = MOST_POINTS / 2;
        for (int stretch = 0; stretch < stretches; stretch++) {
            int from = (int) ((long) n * stretch / stretches);
            int to = (int) ((long) n * (stretch + 1) / stretches);
            int lowest = from;
            int highest = from;
            for (int i = from; i < to; i++) {
                lowest = s.values()[i] < s.values()[lowest] ? i : lowest;
                highest = s.values()[i] > s.values()[highest] ? i : highest;
            }
            kept.add(Math.min(lowest, highest));
            if (lowest != highest) {
                kept.add(Math.max(lowest, highest));
            }
        }
        return new Series(
                s.name(),
                s.style(),
                s.markers(),
                false,
                kept.stream().mapToDouble(i -> s.steps()[i]).toArray(),
                kept.stream().mapToDouble(i -> s.values()[i]).toArray());
    }

    /**
     * Exponential mean over about a fiftieth of the points, freed of its pull towards the first
     * value; on a logarithmic scale a geometric mean, which one spike cannot bend for long.
     */
    private Series smoothed(Series s) {
        double keep = 1 - 1 / Math.max(4.0, s.values().length / 50.0);
        double[] values = new double[s.values().length];
        double sum = 0;
        double weight = 0;
        for (int i = 0; i < values.length; i++) {
            if (Double.isFinite(s.values()[i])) {
                sum = keep * sum + (y.logarithmic() ? Math.log(s.values()[i]) : s.values()[i]);
                weight = keep * weight + 1;
                values[i] = y.logarithmic() ? Math.exp(sum / weight) : sum / weight;
            } else {
                values[i] = Double.NaN;
            }
        }
        return new Series(s.name(), s.style(), s.markers(), false, s.steps(), values);
    }

    /** Invisible strips over the plot, each with the values at its step as title. */
    private void hover(Markup svg) {
        TreeMap<Double, String> titles = new TreeMap<>();
        for (Series s : series) {
            for (int i = 0; i < s.values().length; i++) {
                String value =
                        Double.isFinite(s.values()[i]) ? Axis.label(s.values()[i]) : "not finite";
                titles.merge(s.steps()[i], s.name() + " " + value, (a, b) -> a + "\n" + b);
            }
        }
        List<Double> steps = new ArrayList<>(titles.keySet());
        if (steps.size() > MOST_HOVER_STRIPS) {
            List<Double> some = new ArrayList<>();
            for (int i = 0; i < MOST_HOVER_STRIPS; i++) {
                some.add(
                        steps.get((int) ((long) (steps.size() - 1) * i / (MOST_HOVER_STRIPS - 1))));
            }
            steps = some;
        }
        for (int i = 0; i < steps.size(); i++) {
            double from = i == 0 ? LEFT : (x(steps.get(i - 1)) + x(steps.get(i))) / 2;
            double to =
                    i == steps.size() - 1
                            ? WIDTH - RIGHT
                            : (x(steps.get(i)) + x(steps.get(i + 1))) / 2;
            svg.open("g", "class", "strip");
            svg.empty(
                    "rect",
                    "x",
                    from,
                    "y",
                    TOP,
                    "width",
                    Math.max(to - from, 0),
                    "height",
                    HEIGHT - TOP - BOTTOM);
            svg.empty(
                    "line",
                    "x1",
                    x(steps.get(i)),
                    "x2",
                    x(steps.get(i)),
                    "y1",
                    TOP,
                    "y2",
                    HEIGHT - BOTTOM);
            svg.element(
                    "title",
                    "step " + (long) (double) steps.get(i) + "\n" + titles.get(steps.get(i)));
            svg.close("g");
        }
    }
}
