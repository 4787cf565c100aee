package jlora.trainer.report;

import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * What a run was planned to take of its device's memory, what it allocated, and what somebody else
 * counts, side by side.
 *
 * @param countedBy who counts: the driver of a GPU, or the operating system
 * @param lines in the order of allocation; their counted bytes add up to {@code counted}
 * @param counted bytes in use now; empty where nobody counts
 * @param peak the most that was ever counted, where that is known
 */
public record MemoryComparison(
        String countedBy, List<Line> lines, OptionalLong counted, OptionalLong peak) {
    /**
     * One allocation, or what is taken beside allocations.
     *
     * @param planned bytes; 0 for what a plan does not count
     * @param allocated bytes asked for
     * @param counted by how much the count grew; empty where nobody counts
     * @param parts lines of the plan that share the allocation; they add up to planned
     */
    public record Line(
            String name,
            long planned,
            long allocated,
            OptionalLong counted,
            List<MemoryItem> parts) {
        public Line {
            parts = List.copyOf(parts);
        }
    }

    public MemoryComparison {
        lines = List.copyOf(lines);
    }

    public long planned() {
        return lines.stream().mapToLong(Line::planned).sum();
    }

    public long allocated() {
        return lines.stream().mapToLong(Line::allocated).sum();
    }

    /** The count in a few words; empty where nobody counts. */
    Optional<String> summary() {
        return counted.isEmpty()
                ? Optional.empty()
                : Optional.of(
                        String.format(
                                Locale.ROOT,
                                "%s counted by the %s",
                                MemoryBar.bytes(counted.getAsLong()),
                                countedBy));
    }

    /** Plan and count in one line. */
    public String text() {
        StringBuilder out = new StringBuilder("memory: ");
        out.append(MemoryBar.bytes(planned())).append(" planned, ");
        out.append(MemoryBar.bytes(allocated())).append(" allocated");
        if (counted.isPresent()) {
            out.append("; the ").append(countedBy).append(" counts ");
            out.append(MemoryBar.bytes(counted.getAsLong()));
            long beside = counted.getAsLong() - allocated();
            if (beside > 0) { // Java itself, or a GPU's context and libraries
                out.append(", ").append(MemoryBar.bytes(beside)).append(" of it beside these");
            }
        }
        if (peak.isPresent()) {
            out.append(", at most ").append(MemoryBar.bytes(peak.getAsLong()));
        }
        return out.toString();
    }
}
