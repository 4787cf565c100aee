package jlora.trainer.report;

import jlora.runtime.io.AtomicFile;
import jlora.trainer.config.Setting;
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.StepMetrics;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleFunction;

/**
 * Writes {@code report.html}: headline numbers, charts, memory plan, facts and configuration of a
 * run.
 */
public final class ReportPage {
    private final ReportData data;

    private ReportPage(ReportData data) {
        this.data = data;
    }

    /** The page as text. */
    public static String html(ReportData data) {
        return new ReportPage(data).page();
    }

    /** Writes the page, whole or not at all; failing to is exit code 8. */
    public static void write(ReportData data, Path file) {
        AtomicFile.write(file, html(data).getBytes(StandardCharsets.UTF_8));
    }

    private String page() {
        return Page.html(data.title(), "jlora run report", data.subtitle(), this::body);
    }

    private void body(Markup page) {
        tiles(page);
        charts(page);
        if (!data.memory().isEmpty()) {
            page.open("section", "class", "card").element("h2", "Memory plan");
            new MemoryBar(data.memory()).write(page);
            page.close("section");
        }
        data.measured()
                .ifPresent(
                        measured -> {
                            page.open("section", "class", "card")
                                    .element("h2", "Planned and measured");
                            new MemoryTable(measured).write(page);
                            page.close("section");
                        });
        tables(page);
    }

    private void tiles(Markup page) {
        page.open("section", "class", "tiles");
        List<StepMetrics> steps = data.steps();
        if (!steps.isEmpty()) {
            StepMetrics last = steps.getLast();
            double seconds = steps.stream().mapToDouble(StepMetrics::seconds).sum();
            long tokens = steps.stream().mapToLong(StepMetrics::tokens).sum();
            Page.tile(
                    page,
                    "final loss",
                    value(last.loss()),
                    "from " + value(steps.getFirst().loss()));
            bestEvaluation(page);
            Page.tile(
                    page,
                    "throughput",
                    seconds > 0 ? Axis.label(tokens / seconds) : "–",
                    "tokens per second, mean");
            Page.tile(
                    page,
                    "tokens",
                    Axis.label(tokens),
                    "in " + String.format(Locale.ROOT, "%,d", last.step()) + " steps");
            Page.tile(
                    page,
                    "time in steps",
                    duration(seconds),
                    String.format(Locale.ROOT, "epoch %.2f reached", last.epoch()));
        } else {
            bestEvaluation(page);
        }
        if (!data.memory().isEmpty()) {
            long total = data.memory().stream().mapToLong(MemoryItem::bytes).sum();
            Page.tile(
                    page,
                    "planned memory",
                    MemoryBar.bytes(total),
                    data.measured()
                            .flatMap(MemoryComparison::summary)
                            .orElse("known before the first step"));
        }
        page.close("section");
    }

    private void bestEvaluation(Markup page) {
        data.evaluations().stream()
                .filter(e -> Double.isFinite(e.loss()))
                .min(java.util.Comparator.comparingDouble(EvalMetrics::loss))
                .ifPresent(
                        best ->
                                Page.tile(
                                        page,
                                        "best eval loss",
                                        value(best.loss()),
                                        "perplexity "
                                                + Axis.label(best.perplexity())
                                                + ", step "
                                                + best.step()));
    }

    private void charts(Markup page) {
        page.open("section", "class", "charts");
        List<LineChart.Series> losses = new ArrayList<>();
        losses.add(series("train", "s0", true, StepMetrics::loss));
        if (!data.evaluations().isEmpty()) {
            losses.add(
                    new LineChart.Series(
                            "eval",
                            "s1",
                            true,
                            false,
                            data.evaluations().stream().mapToDouble(EvalMetrics::step).toArray(),
                            data.evaluations().stream().mapToDouble(EvalMetrics::loss).toArray()));
        }
        chart(page, "Loss", "mean over the trained tokens, nats", Axis.Scale.FITTED, losses);
        chart(
                page,
                "Gradient norm",
                "all trained weights, before clipping",
                Axis.Scale.FITTED,
                List.of(series("norm", "s0", true, StepMetrics::gradNorm)));
        chart(
                page,
                "Learning rate",
                "as the step used it",
                Axis.Scale.FROM_ZERO,
                List.of(series("rate", "s0", false, StepMetrics::learningRate)));
        chart(
                page,
                "Throughput",
                "tokens per second, padding not counted",
                Axis.Scale.FROM_ZERO,
                List.of(series("tokens/s", "s0", true, StepMetrics::tokensPerSecond)));
        page.close("section");
    }

    private LineChart.Series series(
            String name, String style, boolean smooth, ToDoubleFunction<StepMetrics> value) {
        return new LineChart.Series(
                name,
                style,
                false,
                smooth,
                data.steps().stream().mapToDouble(StepMetrics::step).toArray(),
                data.steps().stream().mapToDouble(value).toArray());
    }

    private static void chart(
            Markup page,
            String name,
            String unit,
            Axis.Scale scale,
            List<LineChart.Series> series) {
        page.open("figure", "class", "card").open("figcaption").element("h2", name);
        page.element("span", unit, "class", "unit");
        if (series.size() > 1) {
            page.open("span", "class", "key");
            for (LineChart.Series s : series) {
                page.open("span", "class", "entry")
                        .open("span", "class", "swatch " + s.style())
                        .close("span");
                page.text(s.name()).close("span");
            }
            page.close("span");
        }
        page.close("figcaption").raw(new LineChart(name, scale, series).svg()).close("figure");
    }

    private void tables(Markup page) {
        page.open("div", "class", "tables");
        if (!data.facts().isEmpty()) {
            page.open("section", "class", "card").element("h2", "Run").open("table").open("tbody");
            data.facts()
                    .forEach(
                            (name, value) ->
                                    page.open("tr")
                                            .element("th", name)
                                            .element("td", value)
                                            .close("tr"));
            page.close("tbody").close("table").close("section");
        }
        if (!data.settings().isEmpty()) {
            page.open("section", "class", "card").element("h2", "Configuration");
            settings(page, data.settings().stream().filter(Setting::given).toList(), "given");
            List<Setting> defaults = data.settings().stream().filter(k -> !k.given()).toList();
            page.open("details").element("summary", defaults.size() + " keys with their defaults");
            settings(page, defaults, "default");
            page.close("details").close("section");
        }
        page.close("div");
    }

    private static void settings(Markup page, List<Setting> settings, String style) {
        if (settings.isEmpty()) {
            return;
        }
        page.open("table", "class", "settings " + style).open("tbody");
        for (Setting setting : settings) {
            page.open("tr").element("th", setting.key()).element("td", setting.value()).close("tr");
        }
        page.close("tbody").close("table");
    }

    private static String value(double value) {
        return Double.isFinite(value) ? String.format(Locale.ROOT, "%.4f", value) : "not finite";
    }

    static String duration(double seconds) {
        long s = Math.round(seconds);
        if (seconds < 60) {
            return String.format(Locale.ROOT, "%.1f s", seconds);
        }
        return s < 3600
                ? String.format(Locale.ROOT, "%d min %02d s", s / 60, s % 60)
                : String.format(Locale.ROOT, "%d h %02d min", s / 3600, s / 60 % 60);
    }
}
