package jlora.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

class BatchTest {
    private static final int X = Example.IGNORED;

    @Test
    void sequencesLieBehindEachOther() {
        Batch batch = Batch.of(List.of(Example.of(5, 6, 7), Example.of(8, 9)));
        assertArrayEquals(new int[] {5, 6, 7, 8, 9}, batch.ids());
        assertArrayEquals(new int[] {0, 1, 2, 0, 1}, batch.positions());
        assertArrayEquals(new int[] {6, 7, X, 9, X}, batch.targets());
        assertArrayEquals(new int[] {0, 3, 5}, batch.cuSeqlens());
        assertArrayEquals(new int[] {1, 1, 1, 1, 1}, batch.keyMask());
        assertArrayEquals(new int[5], batch.adapterOfRow());
        assertEquals(3, batch.trainedTokens());
        assertEquals(2, batch.rows());
    }

    @Test
    void rightPaddingIsDropped() {
        Batch batch =
                Batch.of(
                        List.of(
                                new Example(
                                        new int[] {5, 6, 7, 0, 0},
                                        new int[] {5, 6, 7, X, X},
                                        new int[] {1, 1, 1, 0, 0},
                                        1)));
        assertArrayEquals(new int[] {5, 6, 7}, batch.ids());
        assertArrayEquals(new int[] {6, 7, X}, batch.targets());
        assertEquals(2, batch.trainedTokens());
    }

    @Test
    void leftPaddingKeepsPositionsAndTheTokenWhosePredictionCounts() {
        Batch batch =
                Batch.of(
                        List.of(
                                new Example(
                                        new int[] {0, 0, 5, 6},
                                        new int[] {X, X, 5, 6},
                                        new int[] {0, 0, 1, 1},
                                        1)));
        assertArrayEquals(new int[] {0, 5, 6}, batch.ids());
        assertArrayEquals(new int[] {1, 2, 3}, batch.positions());
        assertArrayEquals(new int[] {0, 1, 1}, batch.keyMask());
        assertArrayEquals(new int[] {5, 6, X}, batch.targets());
        assertEquals(2, batch.trainedTokens());
    }

    @Test
    void holesAreDroppedUnlessTheyPredict() {
        Batch batch =
                Batch.of(
                        List.of(
                                new Example(
                                        new int[] {5, 6, 7, 8, 9},
                                        new int[] {X, X, X, 8, X},
                                        new int[] {1, 0, 0, 1, 1},
                                        1)));
        assertArrayEquals(new int[] {5, 7, 8, 9}, batch.ids());
        assertArrayEquals(new int[] {0, 2, 3, 4}, batch.positions());
        assertArrayEquals(new int[] {1, 0, 1, 1}, batch.keyMask());
        assertArrayEquals(new int[] {X, 8, X, X}, batch.targets());
    }

    @Test
    void fullyMaskedRowIsAnEmptySequence() {
        Example masked = new Example(new int[] {3, 4}, new int[] {X, X}, new int[] {0, 0}, 1);
        Batch batch = Batch.of(List.of(Example.of(5, 6), masked, Example.of(7, 8)));
        assertArrayEquals(new int[] {0, 2, 2, 4}, batch.cuSeqlens());
        assertEquals(3, batch.rows());
        assertEquals(2, batch.trainedTokens());
        assertEquals(2, Batch.ofAllTokens(List.of(masked)).tokens());
    }

    @ParameterizedTest
    @ValueSource(longs = {11, 12, 13, 14, 15, 16, 17, 18})
    void lossEqualsThatOfTheRectangularBatch(long seed) {
        Random random = new Random(seed);
        List<Example> examples = new ArrayList<>();
        for (int i = 0; i < 12; i++) {
            examples.add(Fixtures.randomExample(random, 20));
        }
        Batch batch = Batch.of(examples);
        double expected = 0;
        int count = 0;
        for (Example example : examples) {
            int length = example.length();
            int[] positions = IntStream.range(0, length).toArray();
            for (int t = 0; t < length; t++) {
                if (t + 1 < length && example.labels()[t + 1] != X) {
                    int[] mask = example.attentionMask();
                    expected +=
                            ToyModel.loss(
                                    t,
                                    0,
                                    example.inputIds(),
                                    positions,
                                    u -> mask == null || mask[u] == 1,
                                    example.labels()[t + 1]);
                    count++;
                }
            }
        }
        double actual = 0;
        for (int s = 0; s < batch.sequences(); s++) {
            for (int t = batch.cuSeqlens()[s]; t < batch.cuSeqlens()[s + 1]; t++) {
                if (batch.targets()[t] != X) {
                    actual +=
                            ToyModel.loss(
                                    t,
                                    batch.cuSeqlens()[s],
                                    batch.ids(),
                                    batch.positions(),
                                    u -> batch.keyMask()[u] != 0,
                                    batch.targets()[t]);
                }
            }
        }
        assertEquals(count, batch.trainedTokens());
        assertEquals(expected, actual, 1e-9 * Math.max(1, expected));
    }

    @Test
    void paddingBelongsToNoSequence() {
        Batch batch = Batch.of(List.of(Example.of(5, 6, 7), Example.of(8, 9))).padTo(8, 4);
        assertArrayEquals(new int[] {5, 6, 7, 8, 9, 0, 0, 0}, batch.ids());
        assertArrayEquals(new int[] {0, 1, 2, 0, 1, 0, 0, 0}, batch.positions());
        assertArrayEquals(new int[] {6, 7, X, 9, X, X, X, X}, batch.targets());
        assertArrayEquals(new int[] {0, 3, 5, 5, 5}, batch.cuSeqlens());
        assertArrayEquals(new int[] {1, 1, 1, 1, 1, 0, 0, 0}, batch.keyMask());
        assertArrayEquals(new int[] {0, 0, 0, 0, 0, -1, -1, -1}, batch.adapterOfRow());
        assertEquals(5, batch.tokens());
        assertEquals(8, batch.capacityRows());
        assertEquals(4, batch.capacitySequences());
        assertEquals(2, batch.sequences());
        Batch smaller = batch.padTo(5, 2);
        assertArrayEquals(new int[] {0, 3, 5}, smaller.cuSeqlens());
        assertThrows(IllegalArgumentException.class, () -> batch.padTo(4, 2));
        assertThrows(IllegalArgumentException.class, () -> batch.padTo(5, 1));
    }

    @Test
    void eachSequenceCanUseItsOwnAdapter() {
        Batch batch = Batch.of(List.of(Example.of(5, 6, 7), Example.of(8, 9))).padTo(6, 2);
        assertArrayEquals(
                new int[] {1, 1, 1, -1, -1, -1},
                batch.withAdapters(new int[] {1, -1}).adapterOfRow());
        assertThrows(IllegalArgumentException.class, () -> batch.withAdapters(new int[] {1}));
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 7, 8, 9, 100, 1000, 12_345, 1_000_000})
    void capacitiesAreFewAndClose(int maxTokens) {
        var buckets = new RowBuckets(maxTokens);
        int[] capacities = IntStream.rangeClosed(0, maxTokens).map(buckets::capacity).toArray();
        for (int tokens = 0; tokens <= maxTokens; tokens++) {
            int capacity = capacities[tokens];
            assertTrue(capacity >= Math.max(1, tokens) && capacity <= maxTokens);
            assertTrue(capacity - tokens < Math.max(8, tokens / 8.0) + 1e-9 || tokens == 0);
            assertEquals(capacity, buckets.capacity(capacity));
        }
        long distinct = IntStream.of(capacities).distinct().count();
        int doublings = Integer.SIZE - Integer.numberOfLeadingZeros(maxTokens);
        assertTrue(distinct <= 8L * doublings, distinct + " capacities");
        assertThrows(IllegalArgumentException.class, () -> buckets.capacity(maxTokens + 1));
    }
}
