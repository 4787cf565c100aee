package jlora.trainer.bench;

import jlora.trainer.report.BarChart.Bar;
import jlora.trainer.report.ThroughputPage;
import jlora.trainer.report.ThroughputPage.Section;
import jlora.trainer.report.ThroughputPage.Tile;

import java.util.ArrayList;
import java.util.List;

/** The memory-throughput suite as what a page shows. */
public final class MemorySuitePage {
    private static final List<String> HEAD =
            List.of(
                    "kernel",
                    "largest operands",
                    "calls/step",
                    "MB",
                    "ms",
                    "GB/s",
                    "of the copy",
                    "FLOP/s",
                    "of the product",
                    "of the step",
                    "lost, ms/step");

    private final MemorySuite suite;
    private final Ceilings ceilings;

    private MemorySuitePage(MemorySuite suite) {
        this.suite = suite;
        this.ceilings = suite.ceilings();
    }

    /** What the page of a suite shows. */
    public static ThroughputPage.Data of(MemorySuite suite) {
        MemorySuitePage page = new MemorySuitePage(suite);
        return new ThroughputPage.Data(
                "Memory throughput: " + suite.model(),
                suite.dtype().torchName()
                        + " on "
                        + suite.device()
                        + (suite.busy()
                                ? Rates.format(
                                        "; load average %.1f before the run", suite.loadBefore())
                                : ""),
                page.tiles(),
                page.sections(),
                suite.plan(),
                suite.memory());
    }

    private List<Tile> tiles() {
        double copy = ceilings.bytesPerSecond();
        List<KernelRow> memory = suite.memoryRows();
        double bytes = memory.stream().mapToDouble(r -> (double) r.calls() * r.bytes()).sum();
        double seconds = memory.stream().mapToDouble(KernelRow::millisecondsPerStep).sum() / 1e3;
        double lost = memory.stream().mapToDouble(r -> r.lostMilliseconds(ceilings)).sum();
        return List.of(
                new Tile(
                        "copy",
                        Rates.format("%.1f GB/s", copy / 1e9),
                        (ceilings.copyBytes() >> 20) + " MiB, read and write counted"),
                new Tile(
                        "product",
                        Rates.flops(ceilings.flopsPerSecond()),
                        "square, of " + ceilings.size()),
                new Tile("last cache", Rates.cache(ceilings), "operands that fit are marked"),
                new Tile(
                        "step",
                        Rates.format("%.1f ms", suite.stepMilliseconds()),
                        Rates.format(
                                "%d tokens; kernels alone %.1f ms",
                                suite.tokens(), suite.kernelMilliseconds())),
                new Tile(
                        "limited by memory",
                        Rates.format("%.1f%%", 100 * suite.memoryShare()),
                        seconds == 0
                                ? "of the kernels' time"
                                : Rates.format(
                                        "of the kernels' time, at %.1f GB/s",
                                        bytes / seconds / 1e9)),
                new Tile(
                        "lost there",
                        Rates.format("%.1f ms", lost),
                        "of a step, against the copy"));
    }

    private List<Section> sections() {
        return List.of(
                section(
                        "Limited by memory",
                        "longest at the top: what a step loses against the copy",
                        true,
                        suite.memoryRows()),
                section(
                        "Limited by arithmetic",
                        "products and attention, against the measured product",
                        false,
                        suite.arithmeticRows()),
                section(
                        "Outside of a step",
                        "merging, switching and drawing weights",
                        true,
                        suite.outside()));
    }

    private Section section(String title, String note, boolean memory, List<KernelRow> rows) {
        List<Bar> bars = new ArrayList<>();
        List<List<String>> cells = new ArrayList<>();
        for (KernelRow row : rows) {
            bars.add(memory ? memoryBar(row) : arithmeticBar(row));
            cells.add(cells(row));
        }
        double limit = memory ? ceilings.bytesPerSecond() / 1e9 : ceilings.flopsPerSecond() / 1e9;
        return new Section(
                title,
                note,
                memory ? "GB/s" : "GFLOP/s",
                memory ? "copy" : "product",
                limit,
                bars,
                HEAD,
                cells);
    }

    private Bar memoryBar(KernelRow row) {
        double rate = row.bytesPerSecond() / 1e9;
        String label = Rates.format("%.1f, %s", rate, Rates.ofLimit(row, ceilings));
        boolean aside = row.inCache(ceilings) || !row.memoryBound(ceilings);
        return new Bar(name(row), rate, label, detail(row), aside);
    }

    private Bar arithmeticBar(KernelRow row) {
        double rate = row.flopsPerSecond() / 1e9;
        String label = Rates.format("%.1f, %s", rate, Rates.percent(row.ofLimit(ceilings)));
        return new Bar(name(row), rate, label, detail(row), false);
    }

    private static String name(KernelRow row) {
        return row.op() + "  " + row.shape();
    }

    private String detail(KernelRow row) {
        String call =
                Rates.format(
                        "%s MB in %s ms",
                        Rates.megabytes(row.bytes()), Rates.milliseconds(row.milliseconds()));
        return row.calls() == 0
                ? call + ", limited by " + Rates.limit(row, ceilings)
                : call
                        + Rates.format(
                                "%n%d calls a step, %.2f%% of its time, %.3f ms lost",
                                row.calls(),
                                100 * suite.share(row),
                                row.lostMilliseconds(ceilings));
    }

    private List<String> cells(KernelRow row) {
        boolean inStep = row.calls() > 0;
        return List.of(
                row.op(),
                row.shape(),
                inStep ? String.valueOf(row.calls()) : "–",
                Rates.megabytes(row.bytes()),
                Rates.milliseconds(row.milliseconds()),
                Rates.format("%.1f", row.bytesPerSecond() / 1e9),
                row.memoryBound(ceilings) ? Rates.ofCopy(row, ceilings) : "–",
                row.flops() == 0 ? "–" : Rates.flops(row.flopsPerSecond()),
                row.memoryBound(ceilings) ? "–" : Rates.percent(row.ofLimit(ceilings)),
                inStep ? Rates.format("%.2f%%", 100 * suite.share(row)) : "–",
                inStep ? Rates.format("%.3f", row.lostMilliseconds(ceilings)) : "–");
    }
}
