package jlora.trainer.job;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.io.Json;
import jlora.runtime.model.Model;
import jlora.trainer.metrics.RunEvent;
import jlora.trainer.report.MemoryItem;

import java.util.Locale;
import java.util.Optional;

/** A run's plan as a table for people and as JSON for programs; both say the same. */
public final class PlanTable {
    private final RunModel run;
    private final Model model;
    private final RunPlan plan;
    private final Device device;
    private final int workers;

    public PlanTable(RunModel run, RunPlan plan, Device device) {
        this(run, plan, device, 1);
    }

    /**
     * @param workers that train together; the plan is for one of them
     */
    public PlanTable(RunModel run, RunPlan plan, Device device, int workers) {
        this.workers = workers;
        this.run = run;
        this.model = run.model();
        this.plan = plan;
        this.device = device;
    }

    private Optional<OffloadPlan> offload() {
        return OffloadPlan.of(run.config(), plan, device);
    }

    private long trained() {
        return plan.trainedParameters();
    }

    public String text() {
        StringBuilder out = new StringBuilder();
        line(
                out,
                "%s, %s parameters, %s trained (%.3f%%)",
                model.config().modelType(),
                count(model.weights().elements()),
                count(trained()),
                100.0 * trained() / model.weights().elements());
        line(out, "  %-34s %14s", "memory", "");
        for (MemoryItem item : plan.items()) {
            line(
                    out,
                    "    %-32s %14s%s",
                    item.name(),
                    Bytes.text(item.bytes()),
                    item.most() > item.bytes()
                            ? "  (" + Bytes.text(item.most()) + " at another time)"
                            : "");
        }
        line(out, "    %-32s %14s", "total", Bytes.text(plan.totalBytes()));
        line(
                out,
                "    %-32s %14s  (%s)",
                plan.fits(device) ? "fits into" : "DOES NOT FIT into",
                Bytes.text(device.bytes()),
                device.label());
        if (!plan.hostItems().isEmpty()) {
            line(out, "  %-34s %14s", "host memory (page-locked)", "");
            for (MemoryItem item : plan.hostItems()) {
                line(out, "    %-32s %14s", item.name(), Bytes.text(item.bytes()));
            }
            line(
                    out,
                    "  %-34s %14s",
                    "layers copied in a step",
                    Bytes.text(plan.fetchedBytesPerStep()));
            offload().ifPresent(o -> line(out, "  %-34s %s", "of a micro-batch", o.text()));
        }
        line(out, "  %-34s %14s", "recomputed", plan.microBatch().recomputed());
        line(out, "  %-34s %14s", "tokens of a step", count(plan.tokensPerStep()));
        line(out, "  %-34s %14s", "FLOPs of a step", si(plan.flopsPerStep()) + "FLOP");
        line(out, "  %-34s %14s", "bytes moved in a step", Bytes.text(plan.bytesMovedPerStep()));
        if (workers > 1) {
            line(out, "  %-34s %14s", "workers", count(workers));
            line(out, "  %-34s %14s", "tokens of a step, all workers", count(globalTokens()));
            line(
                    out,
                    "  %-34s %14s",
                    "gradients summed in a step",
                    Bytes.text(plan.gradientBytes()));
            line(
                    out,
                    "  %-34s %14s",
                    "layers gathered in a step",
                    Bytes.text(plan.fetchedBytesPerStep()));
        }
        if (device.bf16Tflops() > 0) {
            line(
                    out,
                    "  %-34s %14s",
                    "tokens/s at the data sheet's peak",
                    count(
                            (long)
                                    (plan.tokensPerStep()
                                            * device.bf16Tflops()
                                            * 1e12
                                            / plan.flopsPerStep())));
        }
        return out.toString();
    }

    /** The plan as something that a run tells. */
    public RunEvent event() {
        RunEvent event = RunEvent.info("plan", text().stripTrailing());
        for (var field : json().properties()) {
            event = event.with(field.getKey(), field.getValue());
        }
        return event;
    }

    private long globalTokens() {
        return workers * plan.tokensPerStep();
    }

    private static void line(StringBuilder out, String format, Object... values) {
        out.append(String.format(Locale.ROOT, format, values).stripTrailing()).append('\n');
    }

    private static String count(long value) {
        return String.format(Locale.ROOT, "%,d", value);
    }

    private static String si(double value) {
        String[] units = {"", "k", "M", "G", "T", "P", "E"};
        int unit = 0;
        while (value >= 1000 && unit < units.length - 1) {
            value /= 1000;
            unit++;
        }
        return String.format(Locale.ROOT, "%.2f %s", value, units[unit]);
    }

    public ObjectNode json() {
        ObjectNode root = Json.object();
        root.put("model_type", model.config().modelType());
        root.put("dtype", model.weights().dtype().torchName());
        root.put("parameters", model.weights().elements());
        root.put("trained_parameters", trained());
        ArrayNode memory = root.putArray("memory");
        for (MemoryItem item : plan.items()) {
            memory.addObject()
                    .put("name", item.name())
                    .put("bytes", item.bytes())
                    .put("most_bytes", item.most());
        }
        root.put("total_bytes", plan.totalBytes());
        root.put("host_bytes", plan.hostBytes());
        offload()
                .ifPresent(
                        o ->
                                root.putObject("offload")
                                        .put("copy_seconds", o.copySeconds())
                                        .put("compute_seconds", o.computeSeconds())
                                        .put("hidden", o.hidden())
                                        .put("hiding_batch", o.hidingBatch()));
        root.put("device", device.name());
        root.put("device_bytes", device.bytes());
        root.put("fits", plan.fits(device));
        root.put("recomputed", plan.microBatch().recomputed());
        root.put("tokens_per_step", plan.tokensPerStep());
        root.put("flops_per_step", plan.flopsPerStep());
        root.put("bytes_moved_per_step", plan.bytesMovedPerStep());
        root.put("workers", workers);
        root.put("tokens_per_global_step", globalTokens());
        root.put("all_reduce_bytes_per_step", workers > 1 ? plan.gradientBytes() : 0);
        root.put("gather_bytes_per_step", workers > 1 ? plan.fetchedBytesPerStep() : 0);
        root.put("copied_bytes_per_step", plan.hostBytes() > 0 ? plan.fetchedBytesPerStep() : 0);
        return root;
    }
}
