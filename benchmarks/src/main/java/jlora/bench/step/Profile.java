package jlora.bench.step;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.tensor.DType;
import jlora.trainer.bench.Ceilings;

import java.util.List;
import java.util.Locale;

/**
 * Where the time of a training step goes, op by op, against what the processor can do.
 *
 * @param device as the backend describes itself
 * @param steps that were timed
 * @param tokens of all timed steps, padding not counted
 * @param seconds of all timed steps, everything between the plans included
 */
record Profile(
        String device,
        DType dtype,
        int steps,
        long tokens,
        double seconds,
        Ceilings ceilings,
        List<OpTimes.Op> ops) {
    private static final String HEADER =
            "| op | calls/step | ms/step | share | GFLOP/s | GB/s | of the limit |";

    /** As a Markdown table with a line below that says what the last column is. */
    String markdown() {
        StringBuilder out = new StringBuilder(HEADER).append("\n|---|--:|--:|--:|--:|--:|--:|\n");
        double inPlans = 0;
        for (OpTimes.Op op : ops) {
            inPlans += op.seconds();
            out.append(
                    line(
                            "| `%s` | %s | %.3f | %.1f%% | %s | %.1f | %.0f%% |",
                            op.label(),
                            number((double) op.calls() / steps),
                            op.seconds() * 1e3 / steps,
                            100 * op.seconds() / seconds,
                            op.flops() == 0 ? "" : number(op.flops() / op.seconds() / 1e9),
                            op.bytes() / op.seconds() / 1e9,
                            100 * op.floorSeconds() / op.seconds()));
        }
        double floor = ops.stream().mapToDouble(OpTimes.Op::floorSeconds).sum();
        double flops = ops.stream().mapToDouble(OpTimes.Op::flops).sum();
        double bytes = ops.stream().mapToDouble(OpTimes.Op::bytes).sum();
        out.append(
                line(
                        "| between ops: batches in, results out | | %.3f | %.1f%% | | | |",
                        (seconds - inPlans) * 1e3 / steps, 100 * (seconds - inPlans) / seconds));
        out.append(
                line(
                        "| **step** | | **%.3f** | **100%%** | **%s** | **%.1f** | **%.0f%%** |",
                        seconds * 1e3 / steps,
                        number(flops / seconds / 1e9),
                        bytes / seconds / 1e9,
                        100 * floor / seconds));
        out.append(
                line(
                        "%nMean of %d steps, %.0f tokens/s; %s. The processor in the same run: %.0f"
                            + " GFLOP/s (%s product of %d³) and %.1f GB/s (copy of %d MiB, read and"
                            + " write counted). The limit of a call is the longer of its FLOPs at"
                            + " that product rate and its operands, each moved once, at that copy"
                            + " rate; operands that are still in the cache can beat it.",
                        steps,
                        tokens / seconds,
                        device,
                        ceilings.flopsPerSecond() / 1e9,
                        dtype.torchName(),
                        ceilings.size(),
                        ceilings.bytesPerSecond() / 1e9,
                        ceilings.copyBytes() >> 20));
        return out.toString();
    }

    ObjectNode json() {
        ObjectNode root = JsonNodeFactory.instance.objectNode();
        root.put("device", device)
                .put("dtype", dtype.torchName())
                .put("steps", steps)
                .put("tokens", tokens)
                .put("seconds", seconds)
                .put("product_gflops_per_second", ceilings.flopsPerSecond() / 1e9)
                .put("copy_gigabytes_per_second", ceilings.bytesPerSecond() / 1e9);
        ArrayNode list = root.putArray("ops");
        for (OpTimes.Op op : ops) {
            list.addObject()
                    .put("op", op.label())
                    .put("calls_per_step", (double) op.calls() / steps)
                    .put("ms_per_step", op.seconds() * 1e3 / steps)
                    .put("share", op.seconds() / seconds)
                    .put("gflops_per_second", op.flops() / op.seconds() / 1e9)
                    .put("gigabytes_per_second", op.bytes() / op.seconds() / 1e9)
                    .put("of_limit", op.floorSeconds() / op.seconds());
        }
        return root;
    }

    private static String line(String format, Object... values) {
        return String.format(Locale.ROOT, format, values) + "\n";
    }

    /** Whole numbers without decimals, and few of them elsewhere. */
    private static String number(double value) {
        return String.format(
                Locale.ROOT, value == Math.rint(value) || value >= 100 ? "%.0f" : "%.1f", value);
    }
}
