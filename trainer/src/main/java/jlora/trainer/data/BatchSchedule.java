package jlora.trainer.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalDouble;
import java.util.stream.IntStream;

/**
 * Which rows are trained on when, with the semantics of Hugging Face's Trainer: a tail batch is
 * kept, the last step of an epoch has fewer micro-batches where they do not divide evenly, and a
 * step never reaches into the next epoch.
 *
 * <p>A unit is what the batch size counts: a row, or with packing a bin of rows, which is the same
 * in every epoch. Every batch can be built from its {@link DataPosition} alone. Not for use by
 * several threads.
 */
public final class BatchSchedule {
    private final Examples examples;
    private final BatchOptions options;
    private final Packing units;
    private final int maxTokensPerBatch;
    private final int maxSequencesPerBatch;
    private int orderedEpoch = -1;
    private int[] order = {};

    public BatchSchedule(Examples examples, BatchOptions options) {
        if (examples.size() == 0) {
            throw new IllegalArgumentException("a schedule of no rows");
        }
        this.examples = examples;
        this.options = options;
        this.units = units(examples, options);
        if (units.bins() == 0) {
            throw new IllegalArgumentException("a schedule of rows without tokens");
        }
        int[] unitTokens =
                IntStream.range(0, units.bins()).map(u -> tokens(examples, units, u)).toArray();
        int[] unitRows =
                IntStream.range(0, units.bins())
                        .map(u -> units.starts()[u + 1] - units.starts()[u])
                        .toArray();
        this.maxTokensPerBatch = sumOfLargest(unitTokens, options.batchSize());
        this.maxSequencesPerBatch = sumOfLargest(unitRows, options.batchSize());
    }

    private static Packing units(Examples examples, BatchOptions options) {
        if (options.packing()) {
            int[] lengths =
                    IntStream.range(0, examples.size()).map(examples::neededTokens).toArray();
            return Packing.bestFitDecreasing(lengths, options.maxLength());
        }
        return new Packing(
                IntStream.rangeClosed(0, examples.size()).toArray(),
                IntStream.range(0, examples.size()).toArray());
    }

    private static int tokens(Examples examples, Packing units, int unit) {
        int sum = 0;
        for (int i = units.starts()[unit]; i < units.starts()[unit + 1]; i++) {
            sum += examples.neededTokens(units.rows()[i]);
        }
        return sum;
    }

    private static int sumOfLargest(int[] values, int count) {
        int[] sorted = values.clone();
        Arrays.sort(sorted);
        long sum = 0;
        for (int i = Math.max(0, sorted.length - count); i < sorted.length; i++) {
            sum += sorted[i];
        }
        return Math.toIntExact(sum);
    }

    /** The rows that batches are made of. */
    public Examples examples() {
        return examples;
    }

    /** Micro-batches of an epoch. */
    public int batchesPerEpoch() {
        return Math.ceilDiv(units.bins(), options.batchSize());
    }

    /** Optimizer steps of an epoch. */
    public int stepsPerEpoch() {
        return Math.ceilDiv(batchesPerEpoch(), options.accumulationSteps());
    }

    /** No micro-batch of any epoch has more tokens: the largest plan that can be needed. */
    public int maxTokensPerBatch() {
        return maxTokensPerBatch;
    }

    /** No micro-batch of any epoch has more sequences. */
    public int maxSequencesPerBatch() {
        return maxSequencesPerBatch;
    }

    /** With packing, the share of the bins' room that holds tokens. */
    public OptionalDouble packingEfficiency() {
        return options.packing()
                ? OptionalDouble.of(
                        (double) examples.tokens() / ((double) units.bins() * options.maxLength()))
                : OptionalDouble.empty();
    }

    /** Where the n-th optimizer step of a run begins, from 0: what a resumed run goes on from. */
    public DataPosition positionOfStep(long step) {
        if (step < 0) {
            throw new IllegalArgumentException("step " + step);
        }
        return new DataPosition(
                Math.toIntExact(step / stepsPerEpoch()),
                (int) (step % stepsPerEpoch()) * options.accumulationSteps());
    }

    /** The optimizer step that begins at a position, which has to be where a step begins. */
    public StepBatches step(DataPosition position) {
        int first = position.batch();
        if (first >= batchesPerEpoch() || first % options.accumulationSteps() != 0) {
            throw new IllegalArgumentException(
                    "no step begins at batch " + first + " of " + batchesPerEpoch());
        }
        int end = Math.min(first + options.accumulationSteps(), batchesPerEpoch());
        List<Batch> batches = new ArrayList<>(end - first);
        for (int b = first; b < end; b++) {
            batches.add(batch(new DataPosition(position.epoch(), b)));
        }
        DataPosition next =
                end < batchesPerEpoch()
                        ? new DataPosition(position.epoch(), end)
                        : new DataPosition(position.epoch() + 1, 0);
        return StepBatches.of(position, next, batches);
    }

    /** One micro-batch. */
    public Batch batch(DataPosition position) {
        int[] epochOrder = order(position.epoch());
        int first = Math.multiplyExact(position.batch(), options.batchSize());
        if (first >= units.bins()) {
            throw new IllegalArgumentException(
                    "no batch " + position.batch() + " of " + batchesPerEpoch());
        }
        int end = Math.min(first + options.batchSize(), units.bins());
        List<Example> rows = new ArrayList<>();
        for (int i = first; i < end; i++) {
            int unit = epochOrder.length == 0 ? i : epochOrder[i];
            for (int r = units.starts()[unit]; r < units.starts()[unit + 1]; r++) {
                rows.add(examples.get(units.rows()[r]));
            }
        }
        return Batch.of(rows, end - first);
    }

    // Empty means the order of the units themselves.
    private int[] order(int epoch) {
        if (options.shuffle() && epoch != orderedEpoch) {
            order = RowOrder.forEpoch(units.bins(), options.seed(), epoch);
            orderedEpoch = epoch;
        }
        return order;
    }
}
