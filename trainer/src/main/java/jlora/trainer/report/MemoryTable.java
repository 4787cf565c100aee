package jlora.trainer.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalLong;

/** Planned, allocated and counted bytes, line by line. */
final class MemoryTable {
    private final MemoryComparison memory;

    MemoryTable(MemoryComparison memory) {
        this.memory = memory;
    }

    void write(Markup page) {
        List<List<String>> rows = new ArrayList<>();
        for (MemoryComparison.Line line : memory.lines()) {
            rows.add(
                    List.of(
                            line.name(),
                            bytes(line.planned()),
                            bytes(line.allocated()),
                            bytes(line.counted())));
            for (MemoryItem part : line.parts()) {
                rows.add(List.of("– " + part.name(), bytes(part.bytes()), "", ""));
            }
        }
        rows.add(
                List.of(
                        "total",
                        bytes(memory.planned()),
                        bytes(memory.allocated()),
                        bytes(memory.counted())));
        if (memory.peak().isPresent()) {
            rows.add(List.of("most ever counted", "", "", bytes(memory.peak())));
        }
        Page.table(
                page,
                1,
                List.of("bytes of", "planned", "allocated", "counted by the " + memory.countedBy()),
                rows);
    }

    private static String bytes(OptionalLong bytes) {
        return bytes.isPresent() ? bytes(bytes.getAsLong()) : "–";
    }

    private static String bytes(long bytes) {
        return String.format(Locale.ROOT, "%,d", bytes);
    }
}
