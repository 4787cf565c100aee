package jlora.runtime.plan;

import jlora.runtime.plan.Schedule.Interval;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Gives every storage of a schedule an offset in one arena, so that no two that are alive at the
 * same time overlap. Storages are placed one after the other at the lowest offset that is free
 * during all their lifetimes, in two orders (largest first, first used first); the smaller arena
 * wins. Finding the smallest is NP-hard (dynamic storage allocation); {@link Layout#lowerBound}
 * says how far from it a layout can be at most.
 */
final class MemoryPlanner {
    /**
     * @param offsets bytes from the arena's start
     * @param bytes the arena's size
     * @param lowerBound the most bytes alive at any one step: no layout can be smaller
     * @param peakStep the step at which that is so
     */
    record Layout(Map<Storage, Long> offsets, long bytes, long lowerBound, int peakStep) {}

    private record Item(Storage storage, List<Interval> lifetime, long bytes) {
        boolean conflicts(Item other) {
            for (Interval a : lifetime) {
                for (Interval b : other.lifetime) {
                    if (a.overlaps(b)) {
                        return true;
                    }
                }
            }
            return false;
        }

        int firstUse() {
            return lifetime.getFirst().first();
        }
    }

    private record Placed(Item item, long offset) {
        long end() {
            return offset + item.bytes;
        }
    }

    private MemoryPlanner() {}

    static Layout layout(Schedule schedule) {
        List<Item> items = new ArrayList<>();
        schedule.lifetimes()
                .forEach(
                        (s, lifetime) ->
                                items.add(new Item(s, lifetime, MemoryArena.align(s.bytes()))));
        items.sort(Comparator.comparingInt(Item::firstUse));
        List<Placed> byFirstUse = place(items);
        items.sort(Comparator.comparingLong(Item::bytes).reversed());
        List<Placed> bySize = place(items);
        List<Placed> best = end(bySize) <= end(byFirstUse) ? bySize : byFirstUse;
        Map<Storage, Long> offsets = new HashMap<>();
        best.forEach(p -> offsets.put(p.item.storage, p.offset));

        long[] alive = new long[schedule.steps().size() + 1];
        for (Item item : items) {
            for (Interval interval : item.lifetime) {
                for (int i = interval.first(); i <= interval.last(); i++) {
                    alive[i] += item.bytes;
                }
            }
        }
        int peak = 0;
        for (int i = 0; i < alive.length; i++) {
            peak = alive[i] > alive[peak] ? i : peak;
        }
        return new Layout(offsets, end(best), alive[peak], peak);
    }

    private static long end(List<Placed> placed) {
        return placed.stream().mapToLong(Placed::end).max().orElse(0);
    }

    private static List<Placed> place(List<Item> order) {
        List<Placed> byOffset = new ArrayList<>(order.size());
        for (Item item : order) {
            long offset = 0;
            for (Placed other : byOffset) {
                if (other.offset - offset >= item.bytes) {
                    break;
                }
                if (other.end() > offset && item.conflicts(other.item)) {
                    offset = other.end();
                }
            }
            insert(byOffset, new Placed(item, offset));
        }
        return byOffset;
    }

    private static void insert(List<Placed> byOffset, Placed placed) {
        int low = 0;
        int high = byOffset.size();
        while (low < high) {
            int middle = (low + high) >>> 1;
            if (byOffset.get(middle).offset <= placed.offset) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        byOffset.add(low, placed);
    }
}
