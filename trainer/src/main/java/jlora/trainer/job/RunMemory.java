package jlora.trainer.job;

import jlora.runtime.backend.Backend;
import jlora.trainer.loop.Allocation;
import jlora.trainer.loop.Session;
import jlora.trainer.metrics.UsedMemory;
import jlora.trainer.report.MemoryComparison;
import jlora.trainer.report.MemoryComparison.Line;
import jlora.trainer.report.MemoryItem;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;

/**
 * The memory plan of a run beside what was allocated for it and what the driver or the operating
 * system counts, allocation by allocation.
 */
public final class RunMemory {
    private RunMemory() {}

    /**
     * As it is now; after the last step it is the peak of a run, whose allocations stay to its end.
     */
    public static MemoryComparison of(RunPlan plan, Session session) {
        return of(plan, session, UsedMemory.peak(session.backend()));
    }

    /**
     * @param peak the most that was ever counted, where that is known and this run's
     */
    public static MemoryComparison of(RunPlan plan, Session session, OptionalLong peak) {
        Backend backend = session.backend();
        Map<String, List<MemoryItem>> planned = plan.itemsByAllocation();
        List<Line> lines = new ArrayList<>();
        List<MemoryItem> reserved = planned.getOrDefault(RunPlan.RESERVED, List.of());
        boolean gpu = backend.asynchronous();
        lines.add(
                new Line(
                        gpu ? "context, kernels and their scratch" : "Java, before loading",
                        bytes(reserved),
                        backend.reservedBytes(),
                        session.usedBefore(),
                        List.of()));
        Map<String, List<MemoryItem>> open = new LinkedHashMap<>(planned);
        open.remove(RunPlan.RESERVED);
        long unplanned = 0;
        OptionalLong small = OptionalLong.of(0);
        OptionalLong counted = session.usedBefore();
        for (Allocation allocation : session.allocations()) {
            counted = sum(counted, allocation.counted());
            List<MemoryItem> items = open.remove(allocation.label());
            if (items == null) {
                unplanned += allocation.bytes();
                small = sum(small, allocation.counted());
            } else {
                lines.add(line(allocation, items));
            }
        }
        // Such as the copy that checkpoints are written from, before there is one.
        open.forEach(
                (label, items) ->
                        lines.add(line(new Allocation(label, 0, OptionalLong.of(0)), items)));
        lines.add(new Line("results and scalars", 0, unplanned, small, List.of()));
        OptionalLong now = UsedMemory.bytes(backend);
        if (now.isPresent() && counted.isPresent()) {
            lines.add(
                    new Line(
                            gpu ? "libraries and graphs, since then" : "Java and libraries, since",
                            0,
                            0,
                            OptionalLong.of(now.getAsLong() - counted.getAsLong()),
                            List.of()));
        }
        return new MemoryComparison(UsedMemory.countedBy(backend), lines, now, peak);
    }

    private static Line line(Allocation allocation, List<MemoryItem> items) {
        boolean one = items.size() == 1;
        return new Line(
                one ? items.getFirst().name() : allocation.label(),
                bytes(items),
                allocation.bytes(),
                allocation.counted(),
                one ? List.of() : items);
    }

    private static long bytes(List<MemoryItem> items) {
        return items.stream().mapToLong(MemoryItem::bytes).sum();
    }

    private static OptionalLong sum(OptionalLong a, OptionalLong b) {
        return a.isPresent() && b.isPresent()
                ? OptionalLong.of(a.getAsLong() + b.getAsLong())
                : OptionalLong.empty();
    }
}
