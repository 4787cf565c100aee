package jlora.trainer.bench;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.io.Json;
import jlora.runtime.tensor.DType;

import java.util.List;
import java.util.Locale;

/** Benchmark results as a Markdown table for people and as JSON for programs; both say the same. */
public final class BenchReport {
    private final String device;
    private final DType dtype;

    /**
     * @param device as the backend describes itself
     */
    public BenchReport(String device, DType dtype) {
        this.device = device;
        this.dtype = dtype;
    }

    /** Kernels that arithmetic limits: FLOP per second against the measured square product. */
    public String productTable(List<KernelRow> rows, LinearBench linears, Ceilings ceilings) {
        StringBuilder out = new StringBuilder();
        line(out, "%s, %s", device, dtype.torchName());
        line(
                out,
                "product of %d³: %.1f TFLOP/s%n",
                ceilings.size(),
                ceilings.flopsPerSecond() / 1e12);
        line(
                out,
                "| kernel | largest operands | calls/step | GFLOP | µs | TFLOP/s | of the limit |");
        line(out, "|---|--:|--:|--:|--:|--:|--:|");
        for (KernelRow row : rows) {
            if (!row.memoryBound(ceilings)) {
                line(
                        out,
                        "| `%s` | %s | %d | %.1f | %.1f | %.2f | %.0f%% |",
                        row.op(),
                        row.shape(),
                        row.calls(),
                        row.flops() / 1e9,
                        row.milliseconds() * 1e3,
                        row.flopsPerSecond() / 1e12,
                        100 * row.ofLimit(ceilings));
            }
        }
        line(
                out,
                "%nAll linear layers with their adapters, forward and backward: %.3f ms a step; the"
                        + " frozen layers alone: %.3f ms (%.3fx)",
                linears.loraMilliseconds(),
                linears.frozenMilliseconds(),
                linears.ratio());
        return out.toString();
    }

    public String stepTable(StepBench step, StepMemoryUse memory, double modelFlops) {
        StringBuilder out = new StringBuilder();
        line(out, "%s, %s%n", device, dtype.torchName());
        line(out, "| | |");
        line(out, "|---|--:|");
        line(out, "| tokens/s | %.1f |", step.tokensPerSecond());
        line(out, "| tokens of a step | %d |", step.tokens());
        line(out, "| ms of a step (median) | %.3f |", step.seconds() * 1e3);
        line(out, "| model TFLOP/s, 4·P a token | %.2f |", modelFlops / step.seconds() / 1e12);
        line(out, "| first step, s | %.2f |", step.firstStepSeconds());
        if (step.deviceSeconds() > 0) {
            line(out, "| device busy | %.1f%% |", 100 * step.busy());
            line(out, "| graph launches a step | %d |", step.launches());
            line(out, "| kernels, copies and fills in them | %d |", step.nodes());
        }
        line(out, "| planned, bytes | %d |", memory.plannedBytes());
        if (memory.usedBytes() > 0) {
            line(out, "| in use by the driver's count, bytes | %d |", memory.usedBytes());
            line(
                    out,
                    "| planned against it | %.4f |",
                    (double) memory.plannedBytes() / memory.usedBytes());
        }
        line(out, "| loss of the last step | %.4f |", step.loss());
        return out.toString();
    }

    public String mergeTable(MergeBench merge, Ceilings ceilings) {
        StringBuilder out = new StringBuilder();
        line(out, "%s, %s", device, dtype.torchName());
        line(
                out,
                "%.2f GB of weights; read and written once at the measured copy: %.3f ms%n",
                merge.cost().weightBytes() / 1e9,
                2 * merge.cost().weightBytes() / ceilings.bytesPerSecond() * 1e3);
        line(out, "| | ms |");
        line(out, "|---|--:|");
        line(out, "| merge | %.3f |", merge.mergeMilliseconds());
        line(out, "| unmerge, to the bit | %.3f |", merge.unmergeMilliseconds());
        line(out, "| merge, with fingerprints | %.3f |", merge.mergeAndProveMilliseconds());
        line(out, "| unmerge, proved by them | %.3f |", merge.unmergeAndProveMilliseconds());
        line(out, "| switch | %.3f |", merge.switchMilliseconds());
        line(
                out,
                "%nRecords: %.2f%% of the weights corrected, %.2f%% of their bytes",
                100 * merge.cost().correctedShare(),
                100 * merge.cost().byteShare());
        return out.toString();
    }

    public ObjectNode json(MergeBench merge, Ceilings ceilings) {
        return header().put("copy_bytes_per_second", ceilings.bytesPerSecond())
                .put("weight_bytes", merge.cost().weightBytes())
                .put("merge_milliseconds", merge.mergeMilliseconds())
                .put("unmerge_milliseconds", merge.unmergeMilliseconds())
                .put("merge_and_prove_milliseconds", merge.mergeAndProveMilliseconds())
                .put("unmerge_and_prove_milliseconds", merge.unmergeAndProveMilliseconds())
                .put("switch_milliseconds", merge.switchMilliseconds())
                .put("corrected_weights", merge.cost().corrected())
                .put("record_bytes", merge.cost().bytes());
    }

    public ObjectNode json(Ceilings ceilings, List<KernelRow> rows) {
        ObjectNode root = header();
        root.put("product_flops_per_second", ceilings.flopsPerSecond())
                .put("copy_bytes_per_second", ceilings.bytesPerSecond());
        ArrayNode list = root.putArray("kernels");
        for (KernelRow row : rows) {
            MemorySuiteJson.put(list.addObject(), row, ceilings);
        }
        return root;
    }

    public ObjectNode json(StepBench step, StepMemoryUse memory, double modelFlops) {
        return header().put("tokens", step.tokens())
                .put("seconds", step.seconds())
                .put("tokens_per_second", step.tokensPerSecond())
                .put("model_flops_per_second", modelFlops / step.seconds())
                .put("first_step_seconds", step.firstStepSeconds())
                .put("device_seconds", step.deviceSeconds())
                .put("launches", step.launches())
                .put("nodes", step.nodes())
                .put("planned_bytes", memory.plannedBytes())
                .put("used_bytes", memory.usedBytes())
                .put("loss", step.loss());
    }

    private ObjectNode header() {
        return Json.object().put("device", device).put("dtype", dtype.torchName());
    }

    private static void line(StringBuilder out, String format, Object... values) {
        out.append(String.format(Locale.ROOT, format, values)).append('\n');
    }
}
