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

    private static double worstError(
            UnaryOperator<FloatVector> function,
            DoubleUnaryOperator exact,
            double low,
            double high,
            int steps) {
        double worst = 0;
        for (int i = 0; i <= steps; i++) {
            float x = (float) (low + (high - low) * i / steps);
            worst = Math.max(worst, Math.abs(apply(function, x) - exact.applyAsDouble(x)));
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

    @Test
    void expIsWithinTwoUlps() {
        double worst = worstUlps(VectorMath::exp, Math::exp, -87.3, 88.7, 1 << 20);
        assertTrue(worst <= 2, "worst error " + worst + " ulp");
    }

    @Test
    void expOfSmallArgumentsIsWithinTwoUlps() {
        double worst = worstUlps(VectorMath::exp, Math::exp, -1e-3, 1e-3, 1 << 16);
        assertTrue(worst <= 2, "worst error " + worst + " ulp");
    }

    @Test
    void expUnderflowsGraduallyToZero() {
        double worst = worstUlps(VectorMath::exp, Math::exp, -103.9, -87.4, 1 << 16);
        assertTrue(worst <= 2, "worst error " + worst + " denormal ulp");
        for (float x : new float[] {-104.5f, -200f, -1e30f, Float.NEGATIVE_INFINITY}) {
            assertEquals(0f, apply(VectorMath::exp, x), "exp(" + x + ")");
        }
    }

    @Test
    void expOverflowsToInfinityAndKeepsNaN() {
        assertTrue(Float.isFinite(apply(VectorMath::exp, 88.72f)));
        for (float x : new float[] {88.8f, 1000f, Float.POSITIVE_INFINITY}) {
            assertEquals(Float.POSITIVE_INFINITY, apply(VectorMath::exp, x), "exp(" + x + ")");
        }
        assertTrue(Float.isNaN(apply(VectorMath::exp, Float.NaN)));
        assertEquals(1f, apply(VectorMath::exp, 0f));
        assertEquals(1f, apply(VectorMath::exp, -0f));
    }

    @Test
    void sigmoidIsWithinFourUlpsAndSaturates() {
        DoubleUnaryOperator exact = x -> 1 / (1 + Math.exp(-x));
        double worst = worstUlps(VectorMath::sigmoid, exact, -85, 100, 1 << 20);
        assertTrue(worst <= 4, "worst error " + worst + " ulp");
        assertEquals(1f, apply(VectorMath::sigmoid, Float.POSITIVE_INFINITY));
        assertEquals(0f, apply(VectorMath::sigmoid, Float.NEGATIVE_INFINITY));
        assertTrue(Float.isNaN(apply(VectorMath::sigmoid, Float.NaN)));
    }

    @Test
    void erfIsWithinItsError() {
        double worst = worstError(VectorMath::erf, VectorMathTest::erf, -6, 6, 1 << 18);
        assertTrue(worst <= 1.5e-7, "worst error " + worst);
        assertEquals(0f, apply(VectorMath::erf, 0f));
        assertEquals(1f, apply(VectorMath::erf, Float.POSITIVE_INFINITY));
        assertEquals(-1f, apply(VectorMath::erf, Float.NEGATIVE_INFINITY));
        assertTrue(Float.isNaN(apply(VectorMath::erf, Float.NaN)));
    }

    @Test
    void erfOfSmallArgumentsIsRelativelyExact() {
        double worst = worstUlps(VectorMath::erf, VectorMathTest::erf, 1e-6, 0.5, 1 << 16);
        assertTrue(worst <= 3, "worst error " + worst + " ulp");
    }

    @Test
    void clampKeepsBoundsAndNaN() {
        assertEquals(2f, apply(v -> VectorMath.clamp(v, -1, 2), 5f));
        assertEquals(-1f, apply(v -> VectorMath.clamp(v, -1, 2), -5f));
        assertEquals(0.5f, apply(v -> VectorMath.clamp(v, -1, 2), 0.5f));
        assertTrue(Float.isNaN(apply(v -> VectorMath.clamp(v, -1, 2), Float.NaN)));
    }
}
