package jlora.runtime.plan;

import jlora.runtime.plan.Schedule.Interval;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Puts expansions into a schedule, in groups: those of a layer, or each by itself ({@link
 * Expansion.Lead}). A group starts before the group that is used ahead of it in the same pass, so
 * that what it waits for can happen while that one computes; each expansion is finished right
 * before the first step that reads it, and its scratch is free after the last. So the scratch of
 * two groups is alive at a time, and where the backward pass repeats a layer first, that of the
 * layer.
 *
 * <p>The order in which layers start depends on the model alone: upwards, then downwards, all
 * expansions of a layer in the order of the model, also those that a pass does not read. Ranks that
 * gather from each other may then run plans for other batch sizes, or recompute other layers.
 */
final class ExpansionOrder {
    private record Use(int first, int last) {
        Use with(int position) {
            return new Use(Math.min(first, position), Math.max(last, position));
        }
    }

    private final List<TracedStep> steps;
    private final List<TracedExpansion> expansions;
    private final int backwardStart;
    private final Map<TracedStep.Phase, Map<Storage, Use>> uses =
            new EnumMap<>(TracedStep.Phase.class);
    private final List<List<TracedStep>> starts = new ArrayList<>();
    private final List<List<TracedStep>> finishes = new ArrayList<>();

    /** The start of an expansion with its last step, both to be found in the new order. */
    private record Life(Storage into, TracedStep from, TracedStep to) {}

    private final List<Life> lives = new ArrayList<>();
    private final Map<TracedStep, Integer> positions = new IdentityHashMap<>();
    private final List<TracedStep> ordered = new ArrayList<>();
    private long fetched;

    /**
     * @param steps in the order that they run in
     * @param backwardStart position of the first step of the backward pass
     */
    ExpansionOrder(List<TracedStep> steps, int backwardStart, List<TracedExpansion> expansions) {
        this.steps = List.copyOf(steps);
        this.expansions = expansions;
        this.backwardStart = backwardStart;
        for (int i = 0; i <= steps.size(); i++) {
            starts.add(new ArrayList<>());
            finishes.add(new ArrayList<>());
        }
        findUses();
        place();
        for (int i = 0; i <= steps.size(); i++) {
            starts.get(i).forEach(this::append);
            finishes.get(i).forEach(this::append);
            if (i < steps.size()) {
                append(steps.get(i));
            }
        }
    }

    private void append(TracedStep step) {
        positions.put(step, ordered.size());
        ordered.add(step);
    }

    /** All steps, those of expansions included. */
    List<TracedStep> ordered() {
        return ordered;
    }

    /**
     * Where the step now is that was at this position; the end for the position behind the last.
     */
    int position(int before) {
        return before == steps.size() ? ordered.size() : positions.get(steps.get(before));
    }

    /** Bytes that all expansions bring from elsewhere. */
    long fetched() {
        return fetched;
    }

    /** When each scratch holds what is wanted, or is being filled. */
    Map<Storage, List<Interval>> lifetimes() {
        Map<Storage, List<Interval>> lifetimes = new LinkedHashMap<>();
        for (Life life : lives) {
            lifetimes
                    .computeIfAbsent(life.into, s -> new ArrayList<>())
                    .add(new Interval(positions.get(life.from), positions.get(life.to)));
        }
        return lifetimes;
    }

    private void findUses() {
        for (TracedStep.Phase phase : TracedStep.Phase.values()) {
            uses.put(phase, new HashMap<>());
        }
        for (int i = 0; i < steps.size(); i++) {
            Map<Storage, Use> pass =
                    uses.get(
                            i < backwardStart
                                    ? TracedStep.Phase.FORWARD
                                    : TracedStep.Phase.BACKWARD);
            for (Tensor read : steps.get(i).step().reads()) {
                if (read.storage().role() == Storage.Role.EXPANSION) {
                    int position = i;
                    pass.compute(
                            read.storage(),
                            (s, use) ->
                                    use == null ? new Use(position, position) : use.with(position));
                }
            }
        }
    }

    private void place() {
        Map<Object, List<TracedExpansion>> groups = new LinkedHashMap<>();
        for (TracedExpansion e : expansions) {
            Object group =
                    switch (e.expansion().lead()) {
                        case LAYER -> e.layer();
                        case VALUE -> e;
                    };
            groups.computeIfAbsent(group, g -> new ArrayList<>()).add(e);
        }
        List<List<TracedExpansion>> upwards = List.copyOf(groups.values());
        int previous = 0;
        for (List<TracedExpansion> group : upwards) {
            previous = place(group, TracedStep.Phase.FORWARD, previous);
        }
        for (List<TracedExpansion> group : downwards(upwards)) {
            previous = place(group, TracedStep.Phase.BACKWARD, previous);
        }
    }

    /**
     * The groups as the backward pass comes to them. Where it repeats steps of the forward pass,
     * the values of a layer are first read in the order of that one.
     */
    private List<List<TracedExpansion>> downwards(List<List<TracedExpansion>> upwards) {
        List<List<TracedExpansion>> order = new ArrayList<>(upwards.reversed());
        if (expansions.stream().allMatch(e -> e.expansion().lead() == Expansion.Lead.VALUE)) {
            Map<Storage, Use> pass = uses.get(TracedStep.Phase.BACKWARD);
            order.removeIf(group -> !pass.containsKey(group.getFirst().expansion().into()));
            order.sort(
                    Comparator.comparingInt(
                            group -> pass.get(group.getFirst().expansion().into()).first));
        }
        return order;
    }

    /**
     * @param previous where the group ahead of this one is first used
     * @return where this one is
     */
    private int place(List<TracedExpansion> group, TracedStep.Phase phase, int previous) {
        Map<Storage, Use> pass = uses.get(phase);
        Use whole = null;
        for (TracedExpansion e : group) {
            Use use = pass.get(e.expansion().into());
            if (use != null) {
                whole = whole == null ? use : whole.with(use.first).with(use.last);
            }
        }
        if (whole == null) {
            return previous;
        }
        // In the backward pass the scratch must first be done with in the forward pass.
        int free =
                phase == TracedStep.Phase.FORWARD
                        ? 0
                        : group.stream()
                                .map(
                                        e ->
                                                uses.get(TracedStep.Phase.FORWARD)
                                                        .get(e.expansion().into()))
                                .mapToInt(use -> use == null ? backwardStart : use.last + 1)
                                .max()
                                .orElse(0);
        int start = Math.min(whole.first, Math.max(previous, free));
        for (TracedExpansion e : group) {
            Expansion expansion = e.expansion();
            Use use = pass.get(expansion.into());
            TracedStep from = new TracedStep(expansion.start(), phase, e.layer());
            starts.get(start).add(from);
            List<TracedStep> finish =
                    expansion.finish().stream()
                            .map(step -> new TracedStep(step, phase, e.layer()))
                            .toList();
            finishes.get(use == null ? whole.last + 1 : use.first).addAll(finish);
            lives.add(
                    new Life(
                            expansion.into(),
                            from,
                            use == null ? finish.getLast() : steps.get(use.last)));
            fetched += expansion.fetched();
        }
        return whole.first;
    }
}
