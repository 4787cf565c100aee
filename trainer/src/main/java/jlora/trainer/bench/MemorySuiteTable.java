package jlora.trainer.bench;

import jlora.trainer.report.MemoryComparison;
import jlora.trainer.report.MemoryItem;

import java.util.Locale;
import java.util.OptionalLong;

/** The memory-throughput suite as Markdown tables for a terminal. */
public final class MemorySuiteTable {
    private final MemorySuite suite;
    private final Ceilings ceilings;
    private final StringBuilder out = new StringBuilder();

    private MemorySuiteTable(MemorySuite suite) {
        this.suite = suite;
        this.ceilings = suite.ceilings();
    }

    /** Everything that the suite holds. */
    public static String of(MemorySuite suite) {
        MemorySuiteTable table = new MemorySuiteTable(suite);
        table.head();
        table.memoryRows();
        table.arithmeticRows();
        table.outside();
        table.memory();
        return table.out.toString();
    }

    private void head() {
        line("%s, %s, %s", suite.device(), suite.model(), suite.dtype().torchName());
        line(
                "copy of %d MiB: %.1f GB/s, read and write counted; product of %d³: %s; last cache:"
                        + " %s",
                ceilings.copyBytes() >> 20,
                ceilings.bytesPerSecond() / 1e9,
                ceilings.size(),
                Rates.flops(ceilings.flopsPerSecond()),
                Rates.cache(ceilings));
        line(
                "a step of %d tokens: %.3f ms; its kernels one by one: %.3f ms, %.1f%% of them in"
                        + " kernels that memory limits",
                suite.tokens(),
                suite.stepMilliseconds(),
                suite.kernelMilliseconds(),
                100 * suite.memoryShare());
        if (suite.busy()) {
            line(
                    "this machine had other work (load average %.1f before the run): a CPU's rates"
                            + " are lower than it can do",
                    suite.loadBefore());
        }
    }

    private void memoryRows() {
        line("%nLimited by memory, by the time that a step loses against the copy:%n");
        line(
                "| kernel | largest operands | calls/step | MB | ms | GB/s | of the copy | of the"
                        + " step | lost, ms/step |");
        line("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
        for (KernelRow row : suite.memoryRows()) {
            line(
                    "| `%s` | %s | %d | %s | %s | %.1f | %s | %.2f%% | %.3f |",
                    Rates.cell(row.op()),
                    Rates.cell(row.shape()),
                    row.calls(),
                    Rates.megabytes(row.bytes()),
                    Rates.milliseconds(row.milliseconds()),
                    row.bytesPerSecond() / 1e9,
                    Rates.ofCopy(row, ceilings),
                    100 * suite.share(row),
                    row.lostMilliseconds(ceilings));
        }
    }

    private void arithmeticRows() {
        line("%nLimited by arithmetic, by the time that a step loses against the product:%n");
        line(
                "| kernel | largest operands | calls/step | GFLOP | MB | ms | FLOP/s | of the"
                        + " product | GB/s | of the step | lost, ms/step |");
        line("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        for (KernelRow row : suite.arithmeticRows()) {
            line(
                    "| `%s` | %s | %d | %.2f | %s | %s | %s | %s | %.1f | %.2f%% | %.3f |",
                    Rates.cell(row.op()),
                    Rates.cell(row.shape()),
                    row.calls(),
                    row.flops() / 1e9,
                    Rates.megabytes(row.bytes()),
                    Rates.milliseconds(row.milliseconds()),
                    Rates.flops(row.flopsPerSecond()),
                    Rates.percent(row.ofLimit(ceilings)),
                    row.bytesPerSecond() / 1e9,
                    100 * suite.share(row),
                    row.lostMilliseconds(ceilings));
        }
    }

    private void outside() {
        line("%nOutside of a step:%n");
        line("| kernel | operands | MB | ms | GB/s | FLOP/s | of its limit |");
        line("|---|--:|--:|--:|--:|--:|--:|");
        for (KernelRow row : suite.outside()) {
            line(
                    "| `%s` | %s | %s | %s | %.1f | %s | %s |",
                    Rates.cell(row.op()),
                    Rates.cell(row.shape()),
                    Rates.megabytes(row.bytes()),
                    Rates.milliseconds(row.milliseconds()),
                    row.bytesPerSecond() / 1e9,
                    row.flops() == 0 ? "" : Rates.flops(row.flopsPerSecond()),
                    Rates.ofLimit(row, ceilings));
        }
    }

    private void memory() {
        MemoryComparison memory = suite.memory();
        line("%nMemory, bytes:%n");
        line("| | planned | allocated | counted by the %s |", memory.countedBy());
        line("|---|--:|--:|--:|");
        for (MemoryComparison.Line each : memory.lines()) {
            memoryLine(each.name(), each.planned(), each.allocated(), each.counted());
            for (MemoryItem part : each.parts()) {
                line("| – %s | %d | | |", part.name(), part.bytes());
            }
        }
        memoryLine("**total**", memory.planned(), memory.allocated(), memory.counted());
    }

    private void memoryLine(String name, long planned, long allocated, OptionalLong counted) {
        line(
                "| %s | %d | %d | %s |",
                name, planned, allocated, counted.isPresent() ? counted.getAsLong() : "");
    }

    private void line(String format, Object... values) {
        out.append(String.format(Locale.ROOT, format, values)).append('\n');
    }
}
