package jlora.runtime.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.Arrays;
import java.util.stream.IntStream;

class SamplerTest {
    private static final int DRAWS = 40_000;
    private static final double[] PROBABILITIES = {0.05, 0.4, 0.15, 0.3, 0.1};

    private static float[] logits() {
        float[] logits = new float[PROBABILITIES.length];
        for (int i = 0; i < logits.length; i++) {
            logits[i] = (float) Math.log(PROBABILITIES[i]) + 7;
        }
        return logits;
    }

    /** Probabilities after temperature, cut to the nucleus, by the definition of both. */
    private static double[] expected(double temperature, double topP) {
        double[] p = Arrays.stream(PROBABILITIES).map(x -> Math.pow(x, 1 / temperature)).toArray();
        double sum = Arrays.stream(p).sum();
        Integer[] order = IntStream.range(0, p.length).boxed().toArray(Integer[]::new);
        Arrays.sort(order, (a, b) -> Double.compare(p[b], p[a]));
        double[] kept = new double[p.length];
        double mass = 0;
        for (int i : order) {
            if (mass >= topP) {
                break;
            }
            kept[i] = p[i] / sum;
            mass += kept[i];
        }
        for (int i = 0; i < kept.length; i++) {
            kept[i] /= mass;
        }
        return kept;
    }

    @ParameterizedTest
    @CsvSource({"1, 1", "0.5, 1", "2, 1", "1, 0.65", "1, 0.75", "1, 0.1", "0.7, 0.9"})
    void drawsFromTheTemperedNucleus(double temperature, double topP) {
        double[] expected = expected(temperature, topP);
        Sampler sampler = new Sampler(temperature, topP, 11);
        int[] counts = new int[expected.length];
        float[] logits = logits();
        for (int i = 0; i < DRAWS; i++) {
            counts[sampler.choose(logits)]++;
        }
        double chiSquare = 0;
        for (int i = 0; i < counts.length; i++) {
            if (expected[i] == 0) {
                assertEquals(0, counts[i], "token " + i + " is outside the nucleus");
            } else {
                double mean = expected[i] * DRAWS;
                chiSquare += (counts[i] - mean) * (counts[i] - mean) / mean;
            }
        }
        // 99.9% of four degrees of freedom; the seed is fixed, so this either always or never
        // holds.
        assertEquals(0, chiSquare, 18.5, Arrays.toString(counts));
    }

    @Test
    void theSeedDecidesTheSequence() {
        assertArrayEquals(draw(5), draw(5));
        assertFalse(Arrays.equals(draw(5), draw(6)));
    }

    private static int[] draw(long seed) {
        Sampler sampler = new Sampler(1, 0.95, seed);
        float[] logits = logits();
        return IntStream.range(0, 64).map(i -> sampler.choose(logits)).toArray();
    }

    @Test
    void temperatureZeroTakesTheFirstOfTheLikeliest() {
        Sampler sampler = new Sampler(0, 1, 1);
        assertEquals(1, sampler.choose(logits()));
        assertEquals(2, sampler.choose(new float[] {-1, 0, 3, 3, 1}));
    }

    @ParameterizedTest
    @CsvSource({"-1, 1", "NaN, 1", "1, 0", "1, 1.1", "1, NaN"})
    void refusesWhatIsNoProbability(double temperature, double topP) {
        assertThrows(IllegalArgumentException.class, () -> new Sampler(temperature, topP, 1));
    }
}
