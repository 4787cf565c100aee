package jlora.trainer.loop;

import jlora.runtime.nn.StepInputs;
import jlora.runtime.plan.Plan;
import jlora.runtime.tensor.MemoryArena;
import jlora.trainer.data.Batch;
import jlora.trainer.data.RowBuckets;

import java.util.HashMap;
import java.util.Map;
import java.util.function.BiFunction;

/**
 * Plans of one pass for batches of many sizes: one plan per capacity, traced when the first batch
 * of that size comes, all of them in one arena that the largest fills. So the memory of a run is
 * known before its first step.
 */
public final class BatchPlans {
    /** A plan with the inputs that it reads. */
    public record Entry(Plan plan, StepInputs inputs) {}

    private final BiFunction<StepInputs, Long, Plan> tracer;
    private final RowBuckets buckets;
    private final int maxSequences;
    private final long longest;
    private final boolean mixed;
    private final Entry largest;
    private final Map<Integer, Entry> entries = new HashMap<>();
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
        this.largest = trace(maxTokens);
        entries.put(maxTokens, largest);
    }

    private Entry trace(int tokens) {
        StepInputs stepInputs = StepInputs.of(tokens, maxSequences, mixed);
        return new Entry(tracer.apply(stepInputs, Math.min(longest, tokens)), stepInputs);
    }

    /** The plan of the largest batch: what memory is reserved for. */
    public Entry largest() {
        return largest;
    }

    /**
     * Gives the plans their memory: {@link Plan#arenaBytes} and the inputs' bytes of {@link
     * #largest} or more.
     */
    public void bind(MemoryArena planArena, MemoryArena inputArena) {
        arena = planArena;
        inputs = inputArena;
        place(largest);
    }

    private void place(Entry entry) {
        entry.plan.bind(arena);
        StepMemory.place(entry.inputs, inputs);
    }

    /** The plan for a batch, ready to run once its inputs are uploaded. */
    public Entry of(Batch batch) {
        return entries.computeIfAbsent(
                buckets.capacity(batch.tokens()),
                tokens -> {
                    Entry entry = trace(tokens);
                    if (entry.plan.arenaBytes() > arena.bytes()) {
                        // Layouts are found greedily: a smaller batch may, in theory, pack worse
                        // than the largest.
                        return largest;
                    }
                    place(entry);
                    return entry;
                });
    }
}
