package jlora.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

class ExamplesTest {
    private static List<Example> random(long seed, int count, int longest) {
        Random random = new Random(seed);
        List<Example> examples = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            examples.add(Fixtures.randomExample(random, longest));
        }
        return examples;
    }

    @ParameterizedTest
    @CsvSource({"1, 3000, 30", "2, 40, 30000"})
    void whatGoesInComesOut(long seed, int count, int longest) {
        List<Example> expected = random(seed, count, longest);
        Examples examples = Examples.of(expected);
        assertEquals(count, examples.size());
        long tokens = 0;
        long trained = 0;
        int allMasked = 0;
        for (int i = 0; i < count; i++) {
            Example in = expected.get(i);
            Example out = examples.get(i);
            assertArrayEquals(in.inputIds(), out.inputIds());
            assertArrayEquals(in.labels(), out.labels());
            assertArrayEquals(in.attentionMask(), out.attentionMask());
            assertEquals(in.sourceLine(), out.sourceLine());
            assertEquals(in.neededTokens(), examples.neededTokens(i));
            assertEquals(in.trainedTokens(), examples.trainedTokens(i));
            tokens += in.neededTokens();
            trained += in.trainedTokens();
            allMasked += in.trainedTokens() == 0 ? 1 : 0;
        }
        assertEquals(tokens, examples.tokens());
        assertEquals(trained, examples.trainedTokens());
        assertEquals(allMasked, examples.allMaskedRows());
    }

    @Test
    void trainedTokensCountAfterTheShift() {
        assertEquals(2, Example.of(5, 6, 7).trainedTokens());
        assertEquals(0, Example.of(5).trainedTokens());
        int x = Example.IGNORED;
        assertEquals(
                1, new Example(new int[] {5, 6, 7}, new int[] {5, x, 7}, null, 0).trainedTokens());
    }

    @ParameterizedTest
    @CsvSource({"10, 3", "1000, 1", "1000, 999"})
    void heldOutRowsAndTheOthersAreAllRows(int rows, int count) {
        List<Example> all = IntStream.range(0, rows).mapToObj(i -> Example.of(i, i, i)).toList();
        Examples.Split split = Examples.of(all).holdOut(count, 7);
        assertEquals(count, split.heldOut().size());
        assertEquals(rows - count, split.train().size());
        int[] train = firstIds(split.train());
        int[] heldOut = firstIds(split.heldOut());
        assertArrayEquals(IntStream.of(train).sorted().toArray(), train, "the file's order");
        assertArrayEquals(IntStream.of(heldOut).sorted().toArray(), heldOut);
        assertArrayEquals(
                IntStream.range(0, rows).toArray(),
                IntStream.concat(IntStream.of(train), IntStream.of(heldOut)).sorted().toArray());
    }

    private static int[] firstIds(Examples examples) {
        return IntStream.range(0, examples.size())
                .map(i -> examples.get(i).inputIds()[0])
                .toArray();
    }

    @Test
    void splitFollowsTheSeedAndRoundsSharesUp() {
        Examples all =
                Examples.of(IntStream.range(0, 101).mapToObj(i -> Example.of(i, i)).toList());
        assertEquals(11, all.holdOut(0.1, 1).heldOut().size());
        int[] first = firstIds(all.holdOut(20, 1).heldOut());
        assertArrayEquals(first, firstIds(all.holdOut(20, 1).heldOut()));
        assertFalse(Arrays.equals(first, firstIds(all.holdOut(20, 2).heldOut())));
        assertThrows(IllegalArgumentException.class, () -> all.holdOut(101, 1));
        assertThrows(IllegalArgumentException.class, () -> all.holdOut(0, 1));
        assertThrows(IllegalArgumentException.class, () -> all.holdOut(1.0, 1));
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 64, 65, 1000, 70_000})
    void orderIsAPermutationThatDiffersByEpochAndSeed(int n) {
        int[] order = RowOrder.forEpoch(n, 42, 0);
        assertArrayEquals(IntStream.range(0, n).toArray(), IntStream.of(order).sorted().toArray());
        assertArrayEquals(order, RowOrder.forEpoch(n, 42, 0));
        if (n > 20) {
            int[] epoch = RowOrder.forEpoch(n, 42, 1);
            int[] seed = RowOrder.forEpoch(n, 42L + (1L << 32), 0);
            assertFalse(Arrays.equals(order, epoch));
            assertFalse(Arrays.equals(order, seed));
            assertFalse(Arrays.equals(epoch, seed));
        }
    }

    @Test
    void everyOrderIsEquallyLikely() {
        int[] counts = new int[64];
        int draws = 24_000;
        for (int epoch = 0; epoch < draws; epoch++) {
            int[] order = RowOrder.forEpoch(4, 3, epoch);
            counts[order[0] * 16 + order[1] * 4 + order[2]]++;
        }
        double chiSquare = 0;
        for (int count : counts) {
            if (count > 0) {
                chiSquare += (count - draws / 24.0) * (count - draws / 24.0) / (draws / 24.0);
            }
        }
        assertEquals(24, IntStream.of(counts).filter(c -> c > 0).count());
        // 23 degrees of freedom: one in a million exceeds 70.
        assertTrue(chiSquare < 70, "chi square " + chiSquare);
    }
}
