package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

import java.util.SplittableRandom;
import java.util.function.ToDoubleFunction;

/** 16-bit rounding of f64 against a search among the two neighbours, in f64. */
class RoundOnceTest {
    private static double bfloat16(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }

    /**
     * Chooses between {@code low}, whose magnitude is not above the value's, and the next one up,
     * ties to even.
     */
    private static short nearest(double value, int low, ToDoubleFunction<Short> widen) {
        double below = Math.abs(widen.applyAsDouble((short) low));
        double above = Math.abs(widen.applyAsDouble((short) (low + 1)));
        double size = Math.abs(value);
        if (Double.isInfinite(above)) {
            throw new IllegalArgumentException("the largest number");
        }
        boolean up =
                size - below > above - size || (size - below == above - size && (low & 1) == 1);
        return (short) (up ? low + 1 : low);
    }

    @Test
    void bfloat16IsTheNearestNeighbour() {
        SplittableRandom random = new SplittableRandom(1);
        for (int i = 0; i < 200_000; i++) {
            int low = random.nextInt(0x7f7f) | (random.nextBoolean() ? 0x8000 : 0);
            double value = between(bfloat16((short) low), bfloat16((short) (low + 1)), random);
            short expected = nearest(value, low, RoundOnceTest::bfloat16);
            assertEquals(expected, RoundOnce.bfloat16(value), "of " + value);
        }
    }

    @Test
    void float16IsTheNearestNeighbour() {
        SplittableRandom random = new SplittableRandom(2);
        for (int i = 0; i < 200_000; i++) {
            int low = random.nextInt(0x7bff) | (random.nextBoolean() ? 0x8000 : 0);
            double value =
                    between(
                            Float.float16ToFloat((short) low),
                            Float.float16ToFloat((short) (low + 1)),
                            random);
            short expected = nearest(value, low, Float::float16ToFloat);
            assertEquals(expected, RoundOnce.float16(value), "of " + value);
        }
    }

    /** Between two neighbours, often at the middle or the least bit of f64 beside it. */
    private static double between(double low, double high, SplittableRandom random) {
        double middle = low + (high - low) / 2;
        return switch (random.nextInt(5)) {
            case 0 -> middle;
            case 1 -> Math.nextUp(middle);
            case 2 -> Math.nextDown(middle);
            case 3 -> low;
            default -> low + (high - low) * random.nextDouble();
        };
    }

    @Test
    void whatIsNotFiniteStaysSo() {
        assertEquals((short) 0x7f80, RoundOnce.bfloat16(Double.POSITIVE_INFINITY));
        assertEquals((short) 0xff80, RoundOnce.bfloat16(-1e300));
        assertEquals((short) 0x7c00, RoundOnce.float16(65520));
        assertEquals((short) 0x7bff, RoundOnce.float16(65519.999));
        assertEquals((short) 0x8000, RoundOnce.bfloat16(-0.0));
    }
}
