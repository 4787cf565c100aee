package jlora.trainer.metrics;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A strict reader of Prometheus' text format 0.0.4: each metric has HELP, TYPE and samples in this
 * order and once, names and labels are well-formed, counters end in _total, buckets never fall.
 */
public final class PrometheusPage {
    private static final String NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
    private static final Pattern HELP = Pattern.compile("# HELP (" + NAME + ") (.+)");
    private static final Pattern TYPE =
            Pattern.compile("# TYPE (" + NAME + ") (counter|gauge|histogram)");
    private static final Pattern SAMPLE =
            Pattern.compile("(" + NAME + ")(?:\\{(.+)})? (NaN|[+-]Inf|-?[0-9][0-9.E+-]*)");
    private static final Pattern LABEL =
            Pattern.compile("([a-zA-Z_][a-zA-Z0-9_]*)=\"((?:[^\"\\\\]|\\\\[\\\\\"n])*)\"(,|$)");

    private final Map<String, String> types = new LinkedHashMap<>();
    private final Map<String, Double> samples = new LinkedHashMap<>();

    private PrometheusPage() {}

    /** Throws an error that names the line if the page is not as the format asks. */
    public static PrometheusPage parse(String text) {
        PrometheusPage page = new PrometheusPage();
        if (!text.endsWith("\n")) {
            throw new AssertionError("the last line has no end");
        }
        String helped = null;
        String typed = null;
        for (String line : text.split("\n")) {
            Matcher help = HELP.matcher(line);
            Matcher type = TYPE.matcher(line);
            if (help.matches()) {
                helped = help.group(1);
                typed = null;
            } else if (type.matches()) {
                require(type.group(1).equals(helped), line);
                typed = helped;
                require(page.types.put(typed, type.group(2)) == null, line);
                require(type.group(2).equals("counter") == typed.endsWith("_total"), line);
            } else {
                page.sample(line, typed);
            }
        }
        page.types.forEach(page::requireSamples);
        return page;
    }

    private void sample(String line, String typed) {
        Matcher sample = SAMPLE.matcher(line);
        require(sample.matches() && typed != null, line);
        String name = sample.group(1);
        boolean histogram = types.get(typed).equals("histogram");
        List<String> names =
                histogram
                        ? List.of(typed + "_bucket", typed + "_sum", typed + "_count")
                        : List.of(typed);
        require(names.contains(name), line);
        Map<String, String> labels = new TreeMap<>();
        if (sample.group(2) != null) {
            Matcher label = LABEL.matcher(sample.group(2));
            int end = 0;
            while (label.find()) {
                require(label.start() == end, line);
                end = label.end();
                String value = label.group(2);
                value = value.replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\");
                require(labels.put(label.group(1), value) == null, line);
            }
            require(end == sample.group(2).length(), line);
        }
        require(samples.put(name + labels, number(sample.group(3))) == null, line);
    }

    private void requireSamples(String name, String type) {
        if (!type.equals("histogram")) {
            require(
                    samples.keySet().stream().anyMatch(s -> s.startsWith(name + "{")),
                    name + " has no sample");
            return;
        }
        List<Double> buckets = new ArrayList<>();
        samples.forEach(
                (sample, value) -> {
                    if (sample.startsWith(name + "_bucket{le=")) {
                        buckets.add(value);
                    }
                });
        require(buckets.equals(buckets.stream().sorted().toList()), name + " falls");
        require(buckets.getLast().equals(samples.get(name + "_bucket{le=+Inf}")), name);
        require(buckets.getLast().equals(samples.get(name + "_count{}")), name);
        require(samples.containsKey(name + "_sum{}"), name);
    }

    private static double number(String text) {
        return switch (text) {
            case "+Inf" -> Double.POSITIVE_INFINITY;
            case "-Inf" -> Double.NEGATIVE_INFINITY;
            default -> Double.parseDouble(text);
        };
    }

    private static void require(boolean right, String line) {
        if (!right) {
            throw new AssertionError("not in Prometheus' format: " + line);
        }
    }

    /** Whether there is such a metric without labels. */
    public boolean has(String name) {
        return samples.containsKey(name + "{}");
    }

    /** The sample without labels. */
    public double value(String name) {
        return value(name, Map.of());
    }

    public double value(String name, Map<String, String> labels) {
        Double value = samples.get(name + new TreeMap<>(labels));
        require(value != null, name + labels + " is not among " + samples.keySet());
        return value;
    }

    /** The samples, as name{label=value}. */
    public List<String> samples() {
        return List.copyOf(samples.keySet());
    }

    public Map<String, String> types() {
        return Map.copyOf(types);
    }
}
