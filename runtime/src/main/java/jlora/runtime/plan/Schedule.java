package jlora.runtime.plan;

import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The order in which steps run, forward steps that are repeated before the backward steps that need
 * them included, and the lifetimes that follow from it. A repeated step is the same step listed
 * twice: its outputs keep their places in the arena and are simply dead in between, so recomputing
 * changes no bit.
 */
final class Schedule {
    /** The first and last position at which a storage holds something that is still wanted. */
    record Interval(int first, int last) {
        boolean overlaps(Interval other) {
            return first <= other.last && other.first <= last;
        }
    }

    private final List<TracedStep> steps = new ArrayList<>();
    private final Map<Storage, List<TracedStep>> producers = new HashMap<>();
    private final Set<Storage> available = new HashSet<>();
    private final Map<Storage, Integer> restarts = new HashMap<>();

    /**
     * What has been repeated, in the form it was repeated in: each step at most once for all its
     * outputs.
     */
    private final Map<TracedStep, Step> repeated = new IdentityHashMap<>();

    private final Map<Storage, List<Interval>> lifetimes = new LinkedHashMap<>();
    private int backwardStart;
    private long recomputedFlops;
    private long fetchedBytes;

    private Schedule() {}

    /**
     * @param traced all steps in recorded order, and the expansions that they read
     * @param kept what the forward pass leaves in memory for the backward pass; anything else that
     *     backward needs is computed again from it
     */
    static Schedule of(TracedPass traced, Set<Storage> kept) {
        Schedule schedule = new Schedule();
        schedule.build(traced.steps(), kept);
        ExpansionOrder order =
                new ExpansionOrder(schedule.steps, schedule.backwardStart, traced.expansions());
        schedule.findLifetimes(order);
        return schedule;
    }

    List<TracedStep> steps() {
        return steps;
    }

    /** Position of the first step of the backward pass. */
    int backwardStart() {
        return backwardStart;
    }

    long recomputedFlops() {
        return recomputedFlops;
    }

    /** Bytes that expansions bring from elsewhere. */
    long fetchedBytes() {
        return fetchedBytes;
    }

    Map<Storage, List<Interval>> lifetimes() {
        return lifetimes;
    }

    private void build(List<TracedStep> traced, Set<Storage> kept) {
        available.addAll(kept);
        for (TracedStep t : traced) {
            if (t.phase() == TracedStep.Phase.FORWARD) {
                steps.add(t);
                for (Tensor write : t.step().writes()) {
                    if (write.storage().role().planned()) {
                        List<TracedStep> of =
                                producers.computeIfAbsent(write.storage(), s -> new ArrayList<>());
                        if (of.isEmpty() || of.getLast() != t) {
                            of.add(t);
                        }
                    }
                }
            }
        }
        backwardStart = steps.size();
        for (TracedStep t : traced) {
            if (t.phase() == TracedStep.Phase.BACKWARD) {
                for (Tensor read : t.step().reads()) {
                    materialize(read.storage(), new HashSet<>());
                }
                steps.add(t);
            }
        }
    }

    /**
     * Makes sure that a storage of the forward pass holds its value at this point of the backward
     * pass.
     */
    private void materialize(Storage storage, Set<Storage> underway) {
        if (available.contains(storage)
                || !producers.containsKey(storage)
                || !underway.add(storage)) {
            return;
        }
        for (TracedStep producer : producers.get(storage)) {
            Step before = repeated.get(producer);
            if (before != null && writes(before, storage)) {
                continue;
            }
            Step step =
                    producer.step()
                            .replay()
                            .filter(
                                    replay ->
                                            writes(replay, storage)
                                                    && inputsAvailable(replay, underway))
                            .orElse(producer.step());
            for (Tensor read : step.reads()) {
                materialize(read.storage(), underway);
            }
            for (Tensor write : step.writes()) {
                if (write.storage().role().planned() && !available.contains(write.storage())) {
                    restarts.putIfAbsent(write.storage(), steps.size());
                }
            }
            recomputedFlops += step.flops();
            repeated.put(producer, step);
            steps.add(new TracedStep(step, TracedStep.Phase.BACKWARD, producer.layer()));
        }
        available.add(storage);
    }

    private static boolean writes(Step step, Storage storage) {
        return step.writes().stream().anyMatch(w -> w.storage() == storage);
    }

    private boolean inputsAvailable(Step step, Set<Storage> underway) {
        for (Tensor read : step.reads()) {
            Storage s = read.storage();
            if (!s.role().outlivesPass() && !available.contains(s) && !underway.contains(s)) {
                return false;
            }
        }
        return true;
    }

    /** Takes the order in which everything runs, and finds lifetimes in it. */
    private void findLifetimes(ExpansionOrder order) {
        restarts.replaceAll((storage, position) -> order.position(position));
        backwardStart = order.position(backwardStart);
        fetchedBytes = order.fetched();
        steps.clear();
        steps.addAll(order.ordered());
        lifetimes.putAll(order.lifetimes());
        for (int i = 0; i < steps.size(); i++) {
            Step step = steps.get(i).step();
            for (Tensor read : step.reads()) {
                touch(read.storage(), i);
            }
            for (Tensor write : step.writes()) {
                touch(write.storage(), i);
            }
        }
    }

    private void touch(Storage storage, int position) {
        if (storage.role().outlivesPass()) {
            return;
        }
        List<Interval> intervals = lifetimes.computeIfAbsent(storage, s -> new ArrayList<>());
        Integer restart = restarts.get(storage);
        boolean again = restart != null && position >= restart;
        if (intervals.isEmpty() || (again && intervals.getLast().first() < restart)) {
            intervals.add(new Interval(position, position));
        } else {
            intervals.set(
                    intervals.size() - 1, new Interval(intervals.getLast().first(), position));
        }
    }

    /**
     * What the backward pass reads of the forward pass: everything is kept when nothing is
     * recomputed.
     */
    static Set<Storage> savedWithoutRecompute(List<TracedStep> traced) {
        Set<Storage> forward = new HashSet<>();
        Set<Storage> saved = new HashSet<>();
        for (TracedStep t : traced) {
            if (t.phase() == TracedStep.Phase.FORWARD) {
                t.step().writes().forEach(w -> forward.add(w.storage()));
            } else {
                for (Tensor read : t.step().reads()) {
                    if (read.storage().role().planned() && forward.contains(read.storage())) {
                        saved.add(read.storage());
                    }
                }
            }
        }
        return saved;
    }
}
