package jlora.runtime.plan;

import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Which activations are saved for the backward pass and which are computed again (arXiv
 * 1604.06174). A pass over the plan: it lists forward steps a second time and changes no bit of any
 * result.
 *
 * @param mode nothing, what a budget asks for, or everything but one tensor per layer
 * @param budget bytes that the arena may have, for {@link Mode#AUTO}
 */
public record Recompute(Mode mode, long budget) {
    /** The values of {@code gradient_checkpointing}. */
    public enum Mode {
        NONE,
        AUTO,
        FULL
    }

    public static Recompute none() {
        return new Recompute(Mode.NONE, Long.MAX_VALUE);
    }

    public static Recompute full() {
        return new Recompute(Mode.FULL, Long.MAX_VALUE);
    }

    /**
     * First nothing, then what is cheap (norms, activation functions), then whole layers, as few as
     * fit the budget; when none does, the smallest plan, which says by its size that it does not
     * fit.
     */
    public static Recompute auto(long budget) {
        return new Recompute(Mode.AUTO, budget);
    }

    Plan plan(TracedPass traced, List<Storage> checkpoints) {
        List<TracedStep> steps = traced.steps();
        Set<Storage> all = Schedule.savedWithoutRecompute(steps);
        int layers = 1 + steps.stream().mapToInt(TracedStep::layer).max().orElse(-1);
        if (mode == Mode.NONE || all.isEmpty()) {
            return plan(traced, all, "none");
        }
        Set<Storage> cheap = withoutCheap(steps, all);
        if (mode == Mode.FULL) {
            return layers(traced, cheap, checkpoints, layers, layers);
        }
        Plan none = plan(traced, all, "none");
        if (none.arenaBytes() <= budget) {
            return none;
        }
        Plan cheapOnly = plan(traced, cheap, "norms and activation functions");
        if (cheapOnly.arenaBytes() <= budget) {
            return cheapOnly;
        }
        int low = 1;
        int high = layers;
        while (low < high) {
            int middle = (low + high) >>> 1;
            if (layers(traced, cheap, checkpoints, middle, layers).arenaBytes() <= budget) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        return layers(traced, cheap, checkpoints, low, layers);
    }

    private static Plan plan(TracedPass traced, Set<Storage> kept, String recomputed) {
        Schedule schedule = Schedule.of(traced, kept);
        return new Plan(schedule, MemoryPlanner.layout(schedule), recomputed);
    }

    /**
     * Recomputes the first {@code count} layers: their backward runs last, when the others'
     * activations are gone.
     */
    private static Plan layers(
            TracedPass traced,
            Set<Storage> cheap,
            List<Storage> checkpoints,
            int count,
            int layers) {
        Set<Storage> kept = new HashSet<>(cheap);
        for (TracedStep t : traced.steps()) {
            if (t.phase() == TracedStep.Phase.FORWARD && t.layer() >= 0 && t.layer() < count) {
                t.step().writes().forEach(w -> kept.remove(w.storage()));
            }
        }
        kept.addAll(checkpoints);
        return plan(
                traced,
                kept,
                count == layers
                        ? "all layers"
                        : "norms, activation functions and " + count + " layers");
    }

    /** What is left to save when everything that cheap steps make from saved tensors is dropped. */
    private static Set<Storage> withoutCheap(List<TracedStep> steps, Set<Storage> saved) {
        Map<Storage, Boolean> onlyCheap = new HashMap<>();
        Set<Storage> kept = new HashSet<>(saved);
        for (TracedStep t : steps) {
            if (t.phase() != TracedStep.Phase.FORWARD) {
                continue;
            }
            Step source = t.step().replay().orElse(t.step());
            boolean fromSaved = t.step().cheap();
            for (Tensor read : source.reads()) {
                Storage s = read.storage();
                boolean own = t.step().writes().stream().anyMatch(w -> w.storage() == s);
                fromSaved &= s.role().outlivesPass() || own || kept.contains(s);
            }
            Set<Storage> made = new HashSet<>();
            source.writes().forEach(w -> made.add(w.storage()));
            for (Tensor write : t.step().writes()) {
                Storage s = write.storage();
                // A storage with several writers (a product's input and its low-rank columns) is
                // settled at its last.
                if (onlyCheap.merge(s, fromSaved && made.contains(s), Boolean::logicalAnd)) {
                    kept.remove(s);
                } else if (saved.contains(s)) {
                    kept.add(s);
                }
            }
        }
        return kept;
    }
}
