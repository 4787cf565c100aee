package jlora.runtime.plan;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Follows a plan's steps over the bytes of its arena, knowing offsets alone and nothing of
 * lifetimes: every read must find what the same storage wrote last, untouched since.
 */
final class ArenaUse {
    private final Plan plan;
    private final Map<Storage, List<Storage>> neighbours = new LinkedHashMap<>();

    /** Columns of a storage that hold what it wrote. */
    private final Map<Storage, BitSet> intact = new LinkedHashMap<>();

    private ArenaUse(Plan plan) {
        this.plan = plan;
        for (Step step : plan.steps()) {
            for (Tensor tensor : tensors(step)) {
                intact.computeIfAbsent(tensor.storage(), s -> new BitSet());
            }
        }
        List<Storage> all = List.copyOf(intact.keySet());
        for (Storage a : all) {
            List<Storage> over = new ArrayList<>();
            for (Storage b : all) {
                if (a != b && overlap(a, b)) {
                    over.add(b);
                }
            }
            neighbours.put(a, over);
        }
    }

    /** All storages of a plan's arena. */
    static List<Storage> storages(Plan plan) {
        return List.copyOf(new ArenaUse(plan).intact.keySet());
    }

    /** Returns how many times one storage took over bytes of another. */
    static int check(Plan plan) {
        ArenaUse use = new ArenaUse(plan);
        int reuses = 0;
        for (Step step : plan.steps()) {
            reuses += use.check(step);
        }
        for (Storage storage : use.intact.keySet()) {
            assertTrue(
                    plan.offset(storage) >= 0
                            && plan.offset(storage) + storage.bytes() <= plan.arenaBytes(),
                    () -> storage + " leaves the arena");
        }
        return reuses;
    }

    private static List<Tensor> tensors(Step step) {
        List<Tensor> all = new ArrayList<>(step.reads());
        all.addAll(step.writes());
        all.removeIf(t -> !t.storage().role().planned());
        return all;
    }

    private boolean overlap(Storage a, Storage b) {
        long from = plan.offset(a);
        long other = plan.offset(b);
        return from < other + b.bytes() && other < from + a.bytes();
    }

    private int check(Step step) {
        for (Tensor read : step.reads()) {
            if (read.storage().role().planned()) {
                int from = (int) (read.offset() % read.stride());
                int missing = intact.get(read.storage()).nextClearBit(from);
                assertTrue(
                        missing >= from + read.cols(),
                        () ->
                                step.label()
                                        + " reads "
                                        + read
                                        + ", whose column "
                                        + missing
                                        + " is not there");
            }
        }
        List<Tensor> tensors = tensors(step);
        for (Tensor a : tensors) {
            for (Tensor b : tensors) {
                assertFalse(
                        a.storage() != b.storage() && overlap(a.storage(), b.storage()),
                        () -> step.label() + " uses " + a + " and " + b + " in the same bytes");
            }
        }
        int reuses = 0;
        for (Tensor write : step.writes()) {
            if (!write.storage().role().planned()) {
                continue;
            }
            for (Storage other : neighbours.get(write.storage())) {
                reuses += intact.get(other).isEmpty() ? 0 : 1;
                intact.get(other).clear();
            }
            int from = (int) (write.offset() % write.stride());
            intact.get(write.storage()).set(from, from + (int) write.cols());
        }
        return reuses;
    }
}
