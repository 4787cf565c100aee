package jlora.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;

class PackingTest {
    @ParameterizedTest
    @CsvSource({
        "1, 2000, 0, 512, 512, 0.95",
        "2, 2000, 1, 128, 512, 0.99",
        "3, 500, 200, 300, 512, 0.70",
        "4, 300, 512, 512, 512, 1.0",
        "5, 5000, 0, 3, 7, 0.99",
        "6, 1, 5, 5, 512, 0.009"
    })
    void everyRowIsInExactlyOneBinWhole(
            long seed, int rows, int shortest, int longest, int capacity, double fullness) {
        int[] lengths = new Random(seed).ints(rows, shortest, longest + 1).toArray();
        Packing packing = Packing.bestFitDecreasing(lengths, capacity);
        assertArrayEquals(
                IntStream.range(0, rows).filter(i -> lengths[i] > 0).toArray(),
                IntStream.of(packing.rows()).sorted().toArray());
        long total = IntStream.of(lengths).sum();
        int previousFirst = -1;
        for (int b = 0; b < packing.bins(); b++) {
            int tokens = 0;
            for (int i = packing.starts()[b]; i < packing.starts()[b + 1]; i++) {
                tokens += lengths[packing.rows()[i]];
                assertTrue(
                        i == packing.starts()[b] || packing.rows()[i] > packing.rows()[i - 1],
                        "rows of a bin ascend");
            }
            assertTrue(tokens > 0 && tokens <= capacity, "bin of " + tokens);
            int first = packing.rows()[packing.starts()[b]];
            assertTrue(first > previousFirst, "bins ascend by their first row");
            previousFirst = first;
        }
        assertEquals(naiveBins(lengths, capacity), packing.bins());
        double efficiency = (double) total / ((double) packing.bins() * capacity);
        assertTrue(efficiency >= fullness, "bins are " + efficiency + " full");
    }

    // Best-fit decreasing from its definition: look at every bin.
    private static int naiveBins(int[] lengths, int capacity) {
        List<Integer> left = new ArrayList<>();
        for (int length :
                IntStream.of(lengths)
                        .filter(l -> l > 0)
                        .boxed()
                        .sorted(Comparator.reverseOrder())
                        .toList()) {
            int best = -1;
            for (int b = 0; b < left.size(); b++) {
                if (left.get(b) >= length && (best < 0 || left.get(b) < left.get(best))) {
                    best = b;
                }
            }
            if (best < 0) {
                left.add(capacity - length);
            } else {
                left.set(best, left.get(best) - length);
            }
        }
        return left.size();
    }

    @Test
    void aRowLongerThanABinIsRefused() {
        assertThrows(
                IllegalArgumentException.class,
                () -> Packing.bestFitDecreasing(new int[] {3, 9}, 8));
    }
}
