package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Elementary functions on vectors of floats. Polynomials rather than the JVM's own: the same bits
 * on every platform, and several times faster. The coefficients are least-maximum fits;
 * VectorMathTest states and checks the errors.
 *
 * <p>A loop over vectors is fast only while the compiler inlines all of it: a vector that crosses a
 * call becomes an object, and the loop ten times slower. Methods of the Vector API are always
 * inlined, ours only until the compiler's budget is spent, after some forty operations. So
 * constants are vectors already, functions save operations, small loops use nothing but the Vector
 * API, and kernels that need more pass over their (cached) arrays again, with the functions here
 * that work on arrays.
 */
final class VectorMath {
    static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
    static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;
    static final int LANES = FLOATS.length();

    static final FloatVector ZERO = constant(0f);
    static final FloatVector ONE = constant(1f);

    private static final FloatVector LOWEST = constant(-86.9f);
    private static final FloatVector HIGHEST = constant(88.3f);
    private static final FloatVector LOG2_E = constant(1.44269504f);
    // −ln 2 in two parts: n times the first is exact.
    private static final FloatVector LN2_HIGH = constant(-0.693359375f);
    private static final FloatVector LN2_LOW = constant(2.12194440e-4f);
    // Adding 1.5·2²³ leaves a float's nearest integer in its low mantissa bits.
    private static final FloatVector ROUND = constant(12582912f);
    private static final FloatVector E2 = constant(0.5f);
    private static final FloatVector E3 = constant(0.166665129f);
    private static final FloatVector E4 = constant(0.0416661873f);
    private static final FloatVector E5 = constant(0.00836959841f);
    private static final FloatVector E6 = constant(0.00139517173f);

    private static final FloatVector INVERSE_SQRT_2 = constant(0.70710678f);
    private static final FloatVector FAR = constant(4f);
    static final FloatVector MINUS_INFINITY = constant(Float.NEGATIVE_INFINITY);
    private static final FloatVector HALF = constant(0.5f);
    private static final FloatVector C0 = constant(-1.12838025f);
    private static final FloatVector C1 = constant(-0.636597733f);
    private static final FloatVector C2 = constant(-0.102919615f);
    private static final FloatVector C3 = constant(0.0195839633f);
    private static final FloatVector C4 = constant(-0.000536936437f);
    private static final FloatVector C5 = constant(-0.00103240007f);
    private static final FloatVector C6 = constant(0.000308801804f);
    private static final FloatVector C7 = constant(-3.14401321e-05f);

    private VectorMath() {}

    static FloatVector constant(float value) {
        return FloatVector.broadcast(FLOATS, value);
    }

    /** The least multiple of the vector length that holds {@code count} floats. */
    static int padded(int count) {
        return (count + LANES - 1) / LANES * LANES;
    }

    /** eˣ within 2 ulp for −86.9 ≤ x ≤ 88.3; 0 below (−∞ included), 2.2e38 above, NaN for NaN. */
    static FloatVector exp(FloatVector x) {
        return expBounded(x.min(HIGHEST));
    }

    /** The same for x that is known to be at most 88.3, which saves a third of the time. */
    static FloatVector expBounded(FloatVector x) {
        FloatVector shifted = x.fma(LOG2_E, ROUND);
        FloatVector n = shifted.sub(ROUND);
        FloatVector r = n.fma(LN2_LOW, n.fma(LN2_HIGH, x));
        FloatVector p = E6.fma(r, E5).fma(r, E4).fma(r, E3).fma(r, E2);
        p = p.fma(r.mul(r), r).add(ONE);
        // The low bits of shifted are n: moved to the exponent's place they multiply by 2ⁿ.
        IntVector power = shifted.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23);
        FloatVector result = p.reinterpretAsInts().add(power).reinterpretAsFloats();
        return result.blend(ZERO, x.compare(VectorOperators.LT, LOWEST));
    }

    /** a = eᵃ, whole vectors. */
    static void exp(float[] a, int count) {
        for (int i = 0; i < count; i += LANES) {
            exp(FloatVector.fromArray(FLOATS, a, i)).intoArray(a, i);
        }
    }

    /** a = 1/(1 + e⁻ᵃ) within 4 ulp, whole vectors. */
    static void sigmoid(float[] a, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector e = exp(FloatVector.fromArray(FLOATS, a, i).neg());
            ONE.div(e.add(ONE)).intoArray(a, i);
        }
    }

    /**
     * to = Φ(x), the normal distribution function, within 1e-7; 0 below −5.66. Whole vectors.
     *
     * <p>½·erfc(|x|/√2) is formed first, with log erfc(t) as t times a polynomial, so that small
     * values keep their digits.
     */
    static void normalCdf(float[] to, float[] x, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector t = FloatVector.fromArray(FLOATS, x, i).abs().mul(INVERSE_SQRT_2);
            FloatVector p = C7.fma(t, C6).fma(t, C5).fma(t, C4).fma(t, C3).fma(t, C2);
            p = p.fma(t, C1).fma(t, C0).mul(t);
            p.blend(MINUS_INFINITY, t.compare(VectorOperators.GT, FAR)).intoArray(to, i);
        }
        exp(to, count);
        for (int i = 0; i < count; i += LANES) {
            FloatVector tail = FloatVector.fromArray(FLOATS, to, i).mul(HALF);
            FloatVector at = FloatVector.fromArray(FLOATS, x, i);
            ONE.sub(tail).blend(tail, at.compare(VectorOperators.LT, ZERO)).intoArray(to, i);
        }
    }
}
