package jlora.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

class BatchScheduleTest {
    private static final int MAX_LENGTH = 64;

    /** Rows whose first id is their number, so that they can be told apart in a batch. */
    private static Examples numbered(int rows, long seed) {
        Random random = new Random(seed);
        List<Example> examples = new ArrayList<>();
        for (int i = 0; i < rows; i++) {
            int[] ids = random.ints(2 + random.nextInt(MAX_LENGTH - 2), 0, 100).toArray();
            ids[0] = i;
            examples.add(Example.of(ids));
        }
        return Examples.of(examples);
    }

    private static List<Integer> rowsOf(Batch batch) {
        return IntStream.range(0, batch.sequences())
                .mapToObj(s -> batch.ids()[batch.cuSeqlens()[s]])
                .toList();
    }

    private static List<StepBatches> epoch(BatchSchedule schedule, int epoch) {
        List<StepBatches> steps = new ArrayList<>();
        var position = new DataPosition(epoch, 0);
        while (position.epoch() == epoch) {
            StepBatches step = schedule.step(position);
            assertEquals(position, step.position());
            steps.add(step);
            position = step.next();
        }
        assertEquals(new DataPosition(epoch + 1, 0), position);
        return steps;
    }

    @ParameterizedTest
    @CsvSource({
        "100, 8, 4, false, false",
        "100, 8, 4, false, true",
        "100, 4, 3, true, false",
        "100, 4, 3, true, true",
        "1, 8, 4, false, true",
        "16, 4, 2, false, true",
        "1000, 1, 1, true, true"
    })
    void everyEpochHasEveryRowOnce(
            int rows, int batchSize, int accumulation, boolean packing, boolean shuffle) {
        Examples examples = numbered(rows, rows);
        var schedule =
                new BatchSchedule(
                        examples,
                        new BatchOptions(batchSize, accumulation, packing, MAX_LENGTH, shuffle, 5));
        for (int epoch = 0; epoch < 2; epoch++) {
            List<StepBatches> steps = epoch(schedule, epoch);
            assertEquals(schedule.stepsPerEpoch(), steps.size());
            List<Batch> batches =
                    steps.stream().flatMap(step -> step.microBatches().stream()).toList();
            assertEquals(schedule.batchesPerEpoch(), batches.size());
            assertEquals(
                    Math.ceilDiv(batches.size(), accumulation), steps.size(), "as the Trainer");
            for (int i = 0; i + 1 < steps.size(); i++) {
                assertEquals(accumulation, steps.get(i).microBatches().size());
            }
            for (Batch batch : batches.subList(0, batches.size() - 1)) {
                assertEquals(batchSize, batch.rows());
            }
            List<Integer> seen =
                    batches.stream().flatMap(batch -> rowsOf(batch).stream()).sorted().toList();
            assertEquals(IntStream.range(0, rows).boxed().toList(), seen);
            assertEquals(examples.tokens(), steps.stream().mapToLong(StepBatches::tokens).sum());
            assertEquals(
                    examples.trainedTokens(),
                    steps.stream().mapToLong(StepBatches::trainedTokens).sum());
            for (Batch batch : batches) {
                assertTrue(batch.tokens() <= schedule.maxTokensPerBatch());
                assertTrue(batch.sequences() <= schedule.maxSequencesPerBatch());
                assertTrue(!packing || batch.tokens() <= batchSize * MAX_LENGTH);
                for (int s = 0; s < batch.sequences(); s++) {
                    int start = batch.cuSeqlens()[s];
                    int[] ids = examples.get(batch.ids()[start]).inputIds();
                    assertArrayEquals(
                            ids, Arrays.copyOfRange(batch.ids(), start, batch.cuSeqlens()[s + 1]));
                    assertEquals(0, batch.positions()[start]);
                }
            }
        }
    }

    @Test
    void withoutShuffleRowsComeInTheFilesOrder() {
        var schedule =
                new BatchSchedule(
                        numbered(10, 1), new BatchOptions(4, 1, false, MAX_LENGTH, false, 5));
        assertEquals(List.of(0, 1, 2, 3), rowsOf(schedule.batch(new DataPosition(3, 0))));
        assertEquals(List.of(8, 9), rowsOf(schedule.batch(new DataPosition(3, 2))));
    }

    @Test
    void shuffleDiffersByEpochAndSeed() {
        Examples examples = numbered(50, 1);
        var schedule =
                new BatchSchedule(examples, new BatchOptions(50, 1, false, MAX_LENGTH, true, 5));
        var other =
                new BatchSchedule(examples, new BatchOptions(50, 1, false, MAX_LENGTH, true, 6));
        List<Integer> first = rowsOf(schedule.batch(new DataPosition(0, 0)));
        assertFalse(first.equals(rowsOf(schedule.batch(new DataPosition(1, 0)))));
        assertFalse(first.equals(rowsOf(other.batch(new DataPosition(0, 0)))));
    }

    @ParameterizedTest
    @CsvSource({"true", "false"})
    void aResumedRunSeesTheSameBatches(boolean packing) {
        Examples examples = numbered(97, 1);
        var options = new BatchOptions(4, 3, packing, MAX_LENGTH, true, 5);
        var whole = new BatchSchedule(examples, options);
        var position = DataPosition.START;
        for (int step = 0; step < 3 * whole.stepsPerEpoch(); step++) {
            StepBatches expected = whole.step(position);
            var resumed = new BatchSchedule(examples, options);
            assertEquals(position, resumed.positionOfStep(step));
            StepBatches actual = resumed.step(position);
            assertEquals(expected.microBatches().size(), actual.microBatches().size());
            for (int b = 0; b < expected.microBatches().size(); b++) {
                assertArrayEquals(
                        expected.microBatches().get(b).ids(), actual.microBatches().get(b).ids());
            }
            position = expected.next();
        }
        assertThrows(IllegalArgumentException.class, () -> whole.step(new DataPosition(0, 1)));
    }

    @Test
    void packingEfficiencyIsTokensPerRoom() {
        Examples examples = numbered(500, 2);
        var packed = new BatchSchedule(examples, new BatchOptions(2, 1, true, MAX_LENGTH, true, 5));
        double efficiency = packed.packingEfficiency().orElseThrow();
        assertTrue(efficiency > 0.95 && efficiency <= 1, "efficiency " + efficiency);
        int bins =
                epoch(packed, 0).stream().mapToInt(s -> s.microBatches().getFirst().rows()).sum();
        assertEquals((double) examples.tokens() / (bins * MAX_LENGTH), efficiency, 1e-12);
        var plain = new BatchSchedule(examples, BatchOptions.inOrder(2, MAX_LENGTH));
        assertTrue(plain.packingEfficiency().isEmpty());
    }
}
