package jlora.trainer.config;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.LongStream;

class NearestNameTest {
    @ParameterizedTest
    @CsvSource({
        "abc,abc,0",
        "abc,acb,1",
        "abc,ab,1",
        "abc,abcd,1",
        "abc,xbc,1",
        "kitten,sitting,3",
        "ca,abc,3",
        "'',abc,3"
    })
    void distanceCountsEditsAndSwaps(String a, String b, int edits) {
        assertEquals(edits, NearestName.distance(a, b));
        assertEquals(edits, NearestName.distance(b, a));
    }

    static LongStream seeds() {
        return LongStream.range(0, 40);
    }

    /** Against the plain recursive definition, on words short enough for it. */
    @ParameterizedTest
    @MethodSource("seeds")
    void distanceEqualsItsDefinition(long seed) {
        Random random = new Random(seed);
        String a = word(random);
        String b = word(random);
        assertEquals(
                definition(a, b, a.length(), b.length()), NearestName.distance(a, b), a + " " + b);
    }

    private static String word(Random random) {
        StringBuilder word = new StringBuilder();
        for (int i = random.nextInt(7); i > 0; i--) {
            word.append((char) ('a' + random.nextInt(3)));
        }
        return word.toString();
    }

    private static int definition(String a, String b, int i, int j) {
        if (i == 0 || j == 0) {
            return i + j;
        }
        int best = Math.min(definition(a, b, i - 1, j), definition(a, b, i, j - 1)) + 1;
        best =
                Math.min(
                        best,
                        definition(a, b, i - 1, j - 1)
                                + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1));
        if (i > 1
                && j > 1
                && a.charAt(i - 1) == b.charAt(j - 2)
                && a.charAt(i - 2) == b.charAt(j - 1)) {
            best = Math.min(best, definition(a, b, i - 2, j - 2) + 1);
        }
        return best;
    }

    @ParameterizedTest
    @CsvSource({"lora_r,lora_r", "dropout,lora_dropout", "lora_target,lora_target_modules"})
    void wholePartsOfANameFindIt(String word, String name) {
        assertEquals(
                Optional.of(name),
                NearestName.of(
                        word, List.of("lora_r", "lora_dropout", "lora_target_modules", "seed")));
    }
}
