package jlora.trainer.metrics;

import java.util.Map;
import java.util.stream.Collectors;

/**
 * Metrics in Prometheus' text format 0.0.4: per metric its HELP, its TYPE and its samples, in this
 * order.
 */
final class PrometheusText {
    private final StringBuilder text = new StringBuilder();

    PrometheusText gauge(String name, String help, double value) {
        return metric("gauge", name, help, Map.of(), value);
    }

    /**
     * @param name ends in {@code _total}
     */
    PrometheusText counter(String name, String help, double value) {
        return metric("counter", name, help, Map.of(), value);
    }

    /** A gauge that is 1, for what its labels say. */
    PrometheusText info(String name, String help, Map<String, String> labels) {
        return metric("gauge", name, help, labels, 1);
    }

    private PrometheusText metric(
            String type, String name, String help, Map<String, String> labels, double value) {
        begin(name, type, help);
        return sample(name, labels, value);
    }

    /** The head of a metric whose samples follow. */
    PrometheusText begin(String name, String type, String help) {
        text.append("# HELP ")
                .append(name)
                .append(' ')
                .append(help.replace("\\", "\\\\").replace("\n", "\\n"))
                .append("\n# TYPE ")
                .append(name)
                .append(' ')
                .append(type)
                .append('\n');
        return this;
    }

    PrometheusText sample(String name, Map<String, String> labels, double value) {
        text.append(name);
        if (!labels.isEmpty()) {
            text.append(
                    labels.entrySet().stream()
                            .map(label -> label.getKey() + "=\"" + escape(label.getValue()) + '"')
                            .collect(Collectors.joining(",", "{", "}")));
        }
        text.append(' ').append(number(value)).append('\n');
        return this;
    }

    PrometheusText histogram(String name, String help, Histogram values) {
        begin(name, "histogram", help);
        for (int i = 0; i < values.buckets(); i++) {
            sample(name + "_bucket", Map.of("le", number(values.bound(i))), values.upTo(i));
        }
        sample(name + "_bucket", Map.of("le", "+Inf"), values.count());
        sample(name + "_sum", Map.of(), values.sum());
        return sample(name + "_count", Map.of(), values.count());
    }

    private static String escape(String label) {
        return label.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n");
    }

    private static String number(double value) {
        if (Double.isNaN(value)) {
            return "NaN";
        }
        if (Double.isInfinite(value)) {
            return value > 0 ? "+Inf" : "-Inf";
        }
        // Doubles are exact for whole numbers up to 2^53: bytes and tokens stay readable.
        boolean whole = value == Math.rint(value) && Math.abs(value) < 0x1p53;
        return whole ? Long.toString((long) value) : Double.toString(value);
    }

    @Override
    public String toString() {
        return text.toString();
    }
}
