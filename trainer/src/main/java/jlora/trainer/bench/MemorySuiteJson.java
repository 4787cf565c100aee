package jlora.trainer.bench;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.io.Json;
import jlora.trainer.report.MemoryComparison;
import jlora.trainer.report.MemoryItem;

import java.util.List;
import java.util.OptionalLong;

/**
 * The memory-throughput suite as JSON. Its names are documented in {@code benchmarks/README.md} and
 * stay.
 */
public final class MemorySuiteJson {
    private MemorySuiteJson() {}

    /** Everything that the suite holds; kernels in the order of the step. */
    public static ObjectNode of(MemorySuite suite) {
        Ceilings ceilings = suite.ceilings();
        ObjectNode root =
                Json.object()
                        .put("device", suite.device())
                        .put("dtype", suite.dtype().torchName())
                        .put("model", suite.model())
                        .put("tokens", suite.tokens())
                        .put("copy_bytes_per_second", ceilings.bytesPerSecond())
                        .put("copy_bytes", ceilings.copyBytes())
                        .put("product_flops_per_second", ceilings.flopsPerSecond())
                        .put("product_size", ceilings.size())
                        .put("cache_bytes", ceilings.cacheBytes())
                        .put("step_milliseconds", suite.stepMilliseconds())
                        .put("kernels_milliseconds", suite.kernelMilliseconds())
                        .put("memory_share", suite.memoryShare());
        if (Double.isNaN(suite.loadBefore())) {
            root.putNull("load_average_before");
        } else {
            root.put("load_average_before", suite.loadBefore());
        }
        rows(root.putArray("kernels"), suite.step(), suite);
        rows(root.putArray("outside"), suite.outside(), suite);
        memory(root.putObject("memory"), suite.memory());
        return root;
    }

    private static void rows(ArrayNode list, List<KernelRow> rows, MemorySuite suite) {
        Ceilings ceilings = suite.ceilings();
        for (KernelRow row : rows) {
            ObjectNode json = list.addObject();
            put(json, row, ceilings);
            json.put("operand_bytes", row.operandBytes())
                    .put("limited_by", Rates.limit(row, ceilings))
                    .put("in_cache", row.inCache(ceilings));
            row.ofCopy(ceilings)
                    .ifPresentOrElse(
                            share -> json.put("of_copy", share), () -> json.putNull("of_copy"));
            json.put("of_product", row.flopsPerSecond() / ceilings.flopsPerSecond())
                    .put("milliseconds_per_step", row.millisecondsPerStep())
                    .put("share_of_step", suite.share(row))
                    .put("lost_milliseconds_per_step", row.lostMilliseconds(ceilings));
        }
    }

    /** What every benchmark of kernels says of one. */
    static void put(ObjectNode json, KernelRow row, Ceilings ceilings) {
        json.put("op", row.op())
                .put("shape", row.shape())
                .put("calls_per_step", row.calls())
                .put("bytes", row.bytes())
                .put("flops", row.flops())
                .put("milliseconds", row.milliseconds())
                .put("bytes_per_second", row.bytesPerSecond())
                .put("flops_per_second", row.flopsPerSecond())
                .put("of_limit", row.ofLimit(ceilings));
    }

    private static void memory(ObjectNode json, MemoryComparison memory) {
        json.put("counted_by", memory.countedBy())
                .put("planned_bytes", memory.planned())
                .put("allocated_bytes", memory.allocated());
        put(json, "counted_bytes", memory.counted());
        ArrayNode lines = json.putArray("lines");
        for (MemoryComparison.Line line : memory.lines()) {
            ObjectNode each =
                    lines.addObject()
                            .put("name", line.name())
                            .put("planned_bytes", line.planned())
                            .put("allocated_bytes", line.allocated());
            put(each, "counted_bytes", line.counted());
            ArrayNode parts = each.putArray("parts");
            for (MemoryItem part : line.parts()) {
                parts.addObject()
                        .put("name", part.name())
                        .put("bytes", part.bytes())
                        .put("most_bytes", part.most());
            }
        }
    }

    private static void put(ObjectNode json, String name, OptionalLong bytes) {
        if (bytes.isPresent()) {
            json.put(name, bytes.getAsLong());
        } else {
            json.putNull(name);
        }
    }
}
