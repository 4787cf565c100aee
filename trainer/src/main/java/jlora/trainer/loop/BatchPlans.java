package jlora.trainer.loop;

import jlora.runtime.nn.StepInputs;
import jlora.runtime.plan.Plan;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.weight.Placement;
import jlora.trainer.data.Batch;
import jlora.trainer.data.RowBuckets;

import java.util.HashMap;
import java.util.Map;
import java.util.function.BiFunction;

/**
 * Plans of one pass for batches of many sizes: one plan per capacity, and one more for batches that
 * hide keys, traced when the first batch of that kind comes, all of them in one arena that the
 * largest fills. So the memory of a run is known before its first step.
 */
public final class BatchPlans {
    /** A plan with the inputs that it reads. */
    public record Entry(Plan plan, StepInputs inputs) {}

    /** Batches of the same kind share a plan. */
    private record Kind(int tokens, int targets, boolean masked) {}

    /** Prompts have no targets: plans exist for this many shares of a batch that do. */
    private static final int TARGET_SHARES = 4;

    private final BiFunction<StepInputs, Long, Plan> tracer;
    private final RowBuckets buckets;
    private final int maxSequences;
    private final long longest;
    private final boolean mixed;
    private final Kind largest;
    private final Map<Kind, Entry> entries = new HashMap<>();
    private MemoryArena arena;
    private MemoryArena inputs;

    /**
     * @param maxTokens T of the largest batch
     * @param maxSequences S of the batch with the most sequences
     * @param longest tokens of the longest sequence
     * @param mixed whether rows may use different adapters, or none
     * @param tracer from inputs and the longest sequence to a plan
     */
    public BatchPlans(
            int maxTokens,
            int maxSequences,
            long longest,
            boolean mixed,
            BiFunction<StepInputs, Long, Plan> tracer) {
        this.tracer = tracer;
        this.buckets = new RowBuckets(maxTokens);
        this.maxSequences = maxSequences;
        this.longest = longest;
        this.mixed = mixed;
        this.largest = new Kind(maxTokens, maxTokens, false);
        entries.put(largest, trace(largest));
    }

    private Entry trace(Kind kind) {
        StepInputs stepInputs =
                StepInputs.of(kind.tokens, maxSequences, mixed, kind.masked)
                        .withMostTargets(kind.targets);
        return new Entry(tracer.apply(stepInputs, Math.min(longest, kind.tokens)), stepInputs);
    }

    /** The plan of the largest batch: what memory is reserved for. */
    public Entry largest() {
        return entries.get(largest);
    }

    /** Bytes of the largest batch's inputs, with a key mask. */
    public long inputBytes() {
        return Placement.bytes(StepInputs.of(largest.tokens, maxSequences, mixed, true).storages());
    }

    /**
     * Gives the plans their memory: {@link Plan#arenaBytes} of {@link #largest} and {@link
     * #inputBytes}, or more.
     */
    public void bind(MemoryArena planArena, MemoryArena inputArena) {
        arena = planArena;
        inputs = inputArena;
        place(largest());
    }

    /** The targets that the plan for a batch computes: a share of the capacity that holds them. */
    private static int mostTargets(Batch batch, int capacity) {
        long shares = Math.ceilDiv((long) batch.trainedTokens() * TARGET_SHARES, capacity);
        return Math.toIntExact(Math.ceilDiv(Math.max(1, shares) * capacity, TARGET_SHARES));
    }

    private void place(Entry entry) {
        entry.plan.bind(arena);
        StepMemory.place(entry.inputs, inputs);
    }

    /** The plan for a batch, ready to run once its inputs are uploaded. */
    public Entry of(Batch batch) {
        int capacity = buckets.capacity(batch.tokens());
        Kind kind = new Kind(capacity, mostTargets(batch, capacity), batch.masked());
        Entry known = entries.get(kind);
        if (known != null) {
            return known;
        }
        Entry entry = trace(kind);
        if (entry.plan.arenaBytes() > arena.bytes()) {
            // Layouts are found greedily: a smaller batch may, in theory, pack worse than the
            // largest. A mask is an input, so it changes no layout.
            Kind whole = new Kind(largest.tokens, largest.targets, kind.masked);
            entry = entries.computeIfAbsent(whole, this::trace);
        }
        place(entry);
        entries.put(kind, entry);
        return entry;
    }
}
