package jlora.runtime.plan;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Kernels;
import jlora.runtime.plan.Schedule.Interval;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;

import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * A training step, an evaluation or an update as a value: steps in order, each storage at its
 * offset in one arena. It can be printed, costed and laid out with no weights and no device
 * present, and run any number of times once {@link #bind bound} to memory; all that differs from
 * run to run is data in its input tensors.
 */
public final class Plan {
    /**
     * One kind of bytes at the step where most are alive. The parts of a plan add up to its arena.
     */
    public enum Part {
        SAVED("saved activations"),
        LIVE("live layer"),
        EXPANDED("expanded layers"),
        WORKSPACE("workspace"),
        LOGITS("logits chunk"),
        GAPS("gaps between lifetimes");

        private final String label;

        Part(String label) {
            this.label = label;
        }

        public String label() {
            return label;
        }
    }

    private final List<TracedStep> steps;
    private final MemoryPlanner.Layout layout;
    private final Map<Part, Long> parts = new EnumMap<>(Part.class);
    private final Map<Part, Long> largest = new EnumMap<>(Part.class);
    private final String recomputed;
    private final long flops;
    private final long recomputedFlops;
    private final long bytesMoved;
    private final long fetchedBytes;
    private MemoryArena arena;

    Plan(Schedule schedule, MemoryPlanner.Layout layout, String recomputed) {
        this.steps = List.copyOf(schedule.steps());
        this.layout = layout;
        Map<Part, long[]> history = history(schedule);
        history.forEach((part, bytes) -> parts.put(part, bytes[layout.peakStep()]));
        history.forEach((part, bytes) -> largest.put(part, Arrays.stream(bytes).max().orElse(0)));
        parts.put(Part.GAPS, layout.bytes() - layout.lowerBound());
        largest.put(Part.GAPS, parts.get(Part.GAPS));
        this.recomputed = recomputed;
        this.flops = steps.stream().mapToLong(t -> t.step().flops()).sum();
        this.recomputedFlops = schedule.recomputedFlops();
        this.fetchedBytes = schedule.fetchedBytes();
        this.bytesMoved = steps.stream().mapToLong(t -> t.step().bytes()).sum();
    }

    public List<Step> steps() {
        return steps.stream().map(TracedStep::step).toList();
    }

    /** The arena's size in bytes: the planned peak. */
    public long arenaBytes() {
        return layout.bytes();
    }

    /** The most bytes alive at one step; no layout of this schedule can have a smaller arena. */
    public long lowerBound() {
        return layout.lowerBound();
    }

    /** What fills the arena at its fullest step; the values add up to {@link #arenaBytes}. */
    public Map<Part, Long> parts() {
        return parts;
    }

    /** The most bytes of each part at any step: parts that peak at different steps share bytes. */
    public Map<Part, Long> largestParts() {
        return largest;
    }

    /** What is computed a second time instead of being saved, in words. */
    public String recomputed() {
        return recomputed;
    }

    /** Floating-point operations of one run, those of recomputed steps included. */
    public long flops() {
        return flops;
    }

    public long recomputedFlops() {
        return recomputedFlops;
    }

    /** Bytes that one run moves when every step reads and writes each operand once. */
    public long bytesMoved() {
        return bytesMoved;
    }

    /** Bytes that one run brings from outside the device's memory to expand frozen layers. */
    public long fetchedBytes() {
        return fetchedBytes;
    }

    /** Where a storage lies in the arena. */
    public long offset(Storage storage) {
        return layout.offsets().get(storage);
    }

    /**
     * Places all storages of this plan; plans that never run at the same time may share an arena.
     */
    public void bind(MemoryArena arena) {
        this.arena = arena;
        layout.offsets().forEach((storage, offset) -> arena.place(storage, offset));
    }

    /**
     * Plans of one model share the scratch that its weights are expanded into, each at an offset of
     * its own: the one that runs has it where it needs it.
     */
    private void placeExpansions() {
        if (arena != null) {
            layout.offsets()
                    .forEach(
                            (storage, offset) -> {
                                if (storage.role() == Storage.Role.EXPANSION) {
                                    arena.place(storage, offset);
                                }
                            });
        }
    }

    /** Runs all steps in order. */
    public void run(Backend backend) {
        run(backend, step -> {});
    }

    /**
     * Runs the steps of expansions alone: a rank without a batch of its own takes part in the
     * gathers of the others' pass, whatever plan of this kind (with a backward pass or without)
     * they run.
     */
    public void runExpansions(Backend backend) {
        placeExpansions();
        Kernels kernels = backend.kernels();
        for (TracedStep t : steps) {
            if (t.expands()) {
                t.step().action().run(kernels);
            }
        }
    }

    /** Runs all steps, telling the observer of each one after it; for profiles. */
    public void run(Backend backend, java.util.function.Consumer<Step> after) {
        placeExpansions();
        Kernels kernels = backend.kernels();
        for (TracedStep t : steps) {
            t.step().action().run(kernels);
            after.accept(t.step());
        }
    }

    /** Bytes of each part at each step. */
    private static Map<Part, long[]> history(Schedule schedule) {
        Map<Part, long[]> history = new EnumMap<>(Part.class);
        for (Part part : Part.values()) {
            history.put(part, new long[schedule.steps().size() + 1]);
        }
        int boundary = schedule.backwardStart();
        schedule.lifetimes()
                .forEach(
                        (storage, lifetime) -> {
                            for (Interval i : lifetime) {
                                boolean saved = i.first() < boundary && i.last() >= boundary;
                                long[] bytes = history.get(part(storage, saved));
                                for (int step = i.first(); step <= i.last(); step++) {
                                    bytes[step] += MemoryArena.align(storage.bytes());
                                }
                            }
                        });
        return history;
    }

    private static Part part(Storage storage, boolean saved) {
        return switch (storage.role()) {
            case LOGITS -> Part.LOGITS;
            case WORKSPACE -> Part.WORKSPACE;
            case EXPANSION -> Part.EXPANDED;
            default -> saved ? Part.SAVED : Part.LIVE;
        };
    }
}
