package jlora.runtime.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jdk.incubator.vector.FloatVector;

import org.junit.jupiter.api.Test;

import java.util.function.DoubleUnaryOperator;
import java.util.function.UnaryOperator;

/** The stated errors of the vector functions, over their whole range and at its edges. */
final class VectorMathTest {
    private static float apply(UnaryOperator<FloatVector> function, float x) {
        return function.apply(FloatVector.broadcast(VectorMath.FLOATS, x)).lane(0);
    }

    /** The largest error over {@code steps} points of [low, high], in ulps of the exact result. */
    private static double worstUlps(
            UnaryOperator<FloatVector> function,
            DoubleUnaryOperator exact,
            double low,
            double high,
            int steps) {
        double worst = 0;
        float[] x = new float[VectorMath.LANES];
        float[] y = new float[VectorMath.LANES];
        for (int i = 0; i < steps; i += x.length) {
            for (int j = 0; j < x.length; j++) {
                x[j] = (float) (low + (high - low) * (i + j) / steps);
            }
            function.apply(FloatVector.fromArray(VectorMath.FLOATS, x, 0)).intoArray(y, 0);
            for (int j = 0; j < x.length; j++) {
                double expected = exact.applyAsDouble(x[j]);
                worst = Math.max(worst, Math.abs(y[j] - expected) / Math.ulp((float) expected));
            }
        }
        return worst;
    }

    /** erf by its Maclaurin series up to 3, and by the continued fraction of erfc beyond. */
    private static double erf(double x) {
        double size = Math.abs(x);
        if (size < 3) {
            double term = x;
            double sum = x;
            for (int n = 1; n < 80; n++) {
                term *= -x * x / n;
                sum += term / (2 * n + 1);
            }
            return 2 / Math.sqrt(Math.PI) * sum;
        }
        double fraction = size;
        for (int k = 60; k >= 1; k--) {
            fraction = size + k / 2.0 / fraction;
        }
        return Math.signum(x) * (1 - Math.exp(-x * x) / Math.sqrt(Math.PI) / fraction);
    }

    private static float normalCdf(float x) {
        return overArrays(VectorMath::normalCdf, x);
    }

    private static float sigmoid(float x) {
        return overArrays(VectorMathTest::sigmoid, x);
    }

    private static void sigmoid(float[] to, float[] x, int count) {
        System.arraycopy(x, 0, to, 0, count);
        VectorMath.sigmoid(to, count);
    }

    private interface ArrayFunction {
        void apply(float[] to, float[] x, int count);
    }

    private static float overArrays(ArrayFunction function, float x) {
        float[] from = new float[VectorMath.LANES];
        float[] to = new float[VectorMath.LANES];
        from[VectorMath.LANES - 1] = x;
        function.apply(to, from, VectorMath.LANES);
        return to[VectorMath.LANES - 1];
    }

    @Test
    void expIsWithinTwoUlps() {
        double worst = worstUlps(VectorMath::exp, Math::exp, -86.9, 88.3, 1 << 20);
        assertTrue(worst <= 2, "worst error " + worst + " ulp");
    }

    @Test
    void expOfSmallArgumentsIsWithinTwoUlps() {
        double worst = worstUlps(VectorMath::exp, Math::exp, -1e-3, 1e-3, 1 << 16);
        assertTrue(worst <= 2, "worst error " + worst + " ulp");
    }

    @Test
    void expUnderflowsToExactlyZero() {
        float[] arguments = {-86.91f, -87.4f, -104f, -200f, -1e30f, Float.NEGATIVE_INFINITY};
        for (float x : arguments) {
            assertEquals(0f, apply(VectorMath::exp, x), "exp(" + x + ")");
        }
        assertTrue(apply(VectorMath::exp, -86.89f) > 0);
    }

    @Test
    void expSaturatesAboveAndKeepsNaN() {
        for (float x : new float[] {88.4f, 1000f, Float.POSITIVE_INFINITY}) {
            assertEquals(2.2e38, apply(VectorMath::exp, x), 1e37, "exp(" + x + ")");
        }
        assertTrue(Float.isNaN(apply(VectorMath::exp, Float.NaN)));
        assertEquals(1f, apply(VectorMath::exp, 0f));
        assertEquals(1f, apply(VectorMath::exp, -0f));
    }

    @Test
    void sigmoidIsWithinFourUlpsAndSaturates() {
        for (float x = -85; x < 100; x += 0.01f) {
            double exact = 1 / (1 + Math.exp(-x));
            double ulps = Math.abs(sigmoid(x) - exact) / Math.ulp((float) exact);
            assertTrue(ulps <= 4, "sigmoid(" + x + ") is off by " + ulps + " ulp");
        }
        assertEquals(1f, sigmoid(Float.POSITIVE_INFINITY));
        assertEquals(0f, sigmoid(Float.NEGATIVE_INFINITY), 1e-37f);
        assertTrue(Float.isNaN(sigmoid(Float.NaN)));
    }

    @Test
    void normalCdfIsWithinItsError() {
        for (int i = -120_000; i <= 120_000; i++) {
            float x = i * 5e-5f;
            double exact = (1 + erf(x / Math.sqrt(2))) / 2;
            assertEquals(exact, normalCdf(x), 1e-7, "normalCdf(" + x + ")");
        }
        assertEquals(0.5f, normalCdf(0f));
        for (float x : new float[] {6f, 1e10f, Float.POSITIVE_INFINITY}) {
            assertEquals(1f, normalCdf(x), "normalCdf(" + x + ")");
            assertEquals(0f, normalCdf(-x), "normalCdf(" + -x + ")");
        }
        assertTrue(Float.isNaN(normalCdf(Float.NaN)));
    }
}
