package jlora.trainer.report;

import jlora.runtime.io.AtomicFile;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;

/** A self-contained page of a benchmark: headline numbers, bars against limits, memory. */
public final class ThroughputPage {
    /** A number that the page begins with. */
    public record Tile(String name, String value, String note) {}

    /**
     * Bars against one limit, and below them the table of all numbers.
     *
     * @param note what the section shows, in a sentence or two
     * @param unit of the bars
     * @param head of the table; its first two columns are words
     */
    public record Section(
            String title,
            String note,
            String unit,
            String limitName,
            double limit,
            List<BarChart.Bar> bars,
            List<String> head,
            List<List<String>> rows) {
        public Section {
            bars = List.copyOf(bars);
            head = List.copyOf(head);
            rows = List.copyOf(rows);
        }
    }

    /**
     * All that a page shows.
     *
     * @param plan lines of the memory plan
     */
    public record Data(
            String title,
            String subtitle,
            List<Tile> tiles,
            List<Section> sections,
            List<MemoryItem> plan,
            MemoryComparison memory) {
        public Data {
            tiles = List.copyOf(tiles);
            sections = List.copyOf(sections);
            plan = List.copyOf(plan);
        }
    }

    private final Data data;

    private ThroughputPage(Data data) {
        this.data = data;
    }

    /** The page as text. */
    public static String html(Data data) {
        ThroughputPage page = new ThroughputPage(data);
        return Page.html(data.title(), "jlora bench memory", data.subtitle(), page::body);
    }

    /** Writes the page, whole or not at all; failing to is exit code 8. */
    public static void write(Data data, Path file) {
        AtomicFile.write(file, html(data).getBytes(StandardCharsets.UTF_8));
    }

    private void body(Markup page) {
        page.open("section", "class", "tiles");
        data.tiles().forEach(tile -> Page.tile(page, tile.name, tile.value, tile.note));
        page.close("section");
        data.sections().forEach(section -> section(page, section));
        page.open("section", "class", "card").element("h2", "Memory, planned and measured");
        new MemoryBar(data.plan()).write(page);
        new MemoryTable(data.memory()).write(page);
        page.close("section");
    }

    private static void section(Markup page, Section section) {
        page.open("figure", "class", "card").open("figcaption").element("h2", section.title);
        page.element("span", section.note, "class", "unit").close("figcaption");
        if (section.bars.isEmpty()) {
            page.element("p", "no kernel is of this kind here", "class", "note").close("figure");
            return;
        }
        page.raw(
                new BarChart(
                                section.title,
                                section.unit,
                                section.limitName,
                                section.limit,
                                section.bars)
                        .svg());
        Page.table(page, 2, section.head, section.rows);
        page.close("figure");
    }
}
