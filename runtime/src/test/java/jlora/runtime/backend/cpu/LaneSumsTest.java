package jlora.runtime.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;

/** Sums over lanes have one order, whether interpreted or compiled, and no kernel uses another. */
final class LaneSumsTest {
    private static final int VECTORS = 16;
    private static final int CALLS_UNTIL_COMPILED = 2000;

    private static double fold(double[] lanes, boolean single) {
        for (int half = lanes.length / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; i++) {
                double sum = lanes[i] + lanes[i + half];
                lanes[i] = single ? (float) sum : sum;
            }
        }
        return lanes[0];
    }

    @Test
    void floatsFoldFromTheUpperHalf() {
        int lanes = FloatVector.SPECIES_PREFERRED.length();
        float[] values = new float[VECTORS * lanes];
        SplittableRandom random = new SplittableRandom(5);
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        for (int call = 0; call < CALLS_UNTIL_COMPILED; call++) {
            for (int v = 0; v < VECTORS; v++) {
                var vector =
                        FloatVector.fromArray(FloatVector.SPECIES_PREFERRED, values, v * lanes);
                double[] expected = new double[lanes];
                for (int i = 0; i < lanes; i++) {
                    expected[i] = values[v * lanes + i];
                }
                assertEquals((float) fold(expected, true), LaneSums.sum(vector));
            }
        }
    }

    @Test
    void doublesFoldFromTheUpperHalf() {
        int lanes = DoubleVector.SPECIES_PREFERRED.length();
        SplittableRandom random = new SplittableRandom(6);
        double[] values = random.doubles((long) VECTORS * lanes, -1, 1).toArray();
        for (int call = 0; call < CALLS_UNTIL_COMPILED; call++) {
            for (int v = 0; v < VECTORS; v++) {
                var vector =
                        DoubleVector.fromArray(DoubleVector.SPECIES_PREFERRED, values, v * lanes);
                double[] expected = new double[lanes];
                System.arraycopy(values, v * lanes, expected, 0, lanes);
                assertEquals(fold(expected, false), LaneSums.sum(vector));
            }
        }
    }

    @Test
    void noKernelLeavesTheOrderOfASumOpen() throws IOException {
        Path folder = sources();
        try (Stream<Path> files = Files.walk(folder)) {
            List<Path> sources = files.filter(file -> file.toString().endsWith(".java")).toList();
            assertTrue(sources.size() > 10, "sources in " + folder);
            for (Path source : sources) {
                String text = Files.readString(source);
                assertTrue(
                        !text.contains("reduceLanes(VectorOperators.ADD")
                                && !text.contains("reduceLanes(VectorOperators.MUL"),
                        source + " sums lanes in an open order: use LaneSums");
            }
        }
    }

    /** Surefire starts in the module's folder. */
    private static Path sources() {
        return Path.of("src/main/java/jlora/runtime/backend").toAbsolutePath();
    }
}
