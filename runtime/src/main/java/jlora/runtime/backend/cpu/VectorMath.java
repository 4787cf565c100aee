package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Elementary functions on vectors of floats. Polynomials rather than the JVM's own: the same bits
 * on every platform, and several times faster. The coefficients are least-maximum fits;
 * VectorMathTest states and checks the errors.
 */
final class VectorMath {
    static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
    static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;
    static final int LANES = FLOATS.length();

    private static final float LOG2_E = 1.44269504f;
    // ln 2 in two parts: n·LN2_HIGH is exact for |n| < 2^9.
    private static final float LN2_HIGH = 0.693359375f;
    private static final float LN2_LOW = -2.12194440e-4f;
    // Adding 1.5·2²³ leaves a float's nearest integer in its low mantissa bits.
    private static final float ROUND = 12582912f;
    private static final int ROUND_BITS = 0x4B400000;

    private VectorMath() {}

    /** The least multiple of the vector length that holds {@code count} floats. */
    static int padded(int count) {
        return (count + LANES - 1) / LANES * LANES;
    }

    /** eˣ within 2 ulp; denormal results included, 0 below −104, ∞ above 88.72, NaN for NaN. */
    static FloatVector exp(FloatVector x) {
        FloatVector bounded = clamp(x, -105f, 89f);
        FloatVector shifted = bounded.mul(LOG2_E).add(ROUND);
        FloatVector n = shifted.sub(ROUND);
        FloatVector r = n.fma(FloatVector.broadcast(FLOATS, -LN2_HIGH), bounded);
        r = n.fma(FloatVector.broadcast(FLOATS, -LN2_LOW), r);
        FloatVector p = FloatVector.broadcast(FLOATS, 0.00139517173f);
        p = p.fma(r, FloatVector.broadcast(FLOATS, 0.00836959841f));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 0.0416661873f));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 0.166665129f));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 0.5f));
        p = p.fma(r.mul(r), r).add(1f);
        // 2ⁿ in two factors, so that neither leaves the normal range when the result is denormal or
        // infinite.
        IntVector exponent = shifted.reinterpretAsInts().sub(ROUND_BITS);
        IntVector half = exponent.lanewise(VectorOperators.ASHR, 1);
        return p.mul(power(half)).mul(power(exponent.sub(half)));
    }

    /** 1/(1 + e⁻ˣ) within 4 ulp where it is a normal number. */
    static FloatVector sigmoid(FloatVector x) {
        FloatVector one = FloatVector.broadcast(FLOATS, 1f);
        return one.div(exp(x.neg()).add(one));
    }

    /** The error function, within 1.5e-7 absolute. */
    static FloatVector erf(FloatVector x) {
        FloatVector size = x.abs();
        FloatVector near = erfNear(x);
        FloatVector far = erfFar(size);
        far = far.blend(far.neg(), x.compare(VectorOperators.LT, 0f));
        return near.blend(far, size.compare(VectorOperators.GT, 1f));
    }

    /** Keeps x within [low, high]; NaN stays NaN. */
    static FloatVector clamp(FloatVector x, float low, float high) {
        FloatVector above = x.blend(low, x.compare(VectorOperators.LT, low));
        return above.blend(high, above.compare(VectorOperators.GT, high));
    }

    private static FloatVector power(IntVector n) {
        return n.add(127).lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats();
    }

    /** erf(x)/x as a polynomial in x², for |x| ≤ 1. */
    private static FloatVector erfNear(FloatVector x) {
        FloatVector z = x.mul(x);
        FloatVector p = FloatVector.broadcast(FLOATS, 7.8891195e-05f);
        p = p.fma(z, FloatVector.broadcast(FLOATS, -0.000802084127f));
        p = p.fma(z, FloatVector.broadcast(FLOATS, 0.00518953534f));
        p = p.fma(z, FloatVector.broadcast(FLOATS, -0.0268544446f));
        p = p.fma(z, FloatVector.broadcast(FLOATS, 0.112836002f));
        p = p.fma(z, FloatVector.broadcast(FLOATS, -0.376126271f));
        p = p.fma(z, FloatVector.broadcast(FLOATS, 1.12837917f));
        return p.mul(x);
    }

    /** 1 − erfc(x), with log erfc as a polynomial, for x ≥ 1; erfc(4) is below half an ulp of 1. */
    private static FloatVector erfFar(FloatVector x) {
        FloatVector t = clamp(x, 1f, 4f);
        FloatVector p = FloatVector.broadcast(FLOATS, -2.168685e-05f);
        p = p.fma(t, FloatVector.broadcast(FLOATS, 0.000441336378f));
        p = p.fma(t, FloatVector.broadcast(FLOATS, -0.00420456188f));
        p = p.fma(t, FloatVector.broadcast(FLOATS, 0.0252082567f));
        p = p.fma(t, FloatVector.broadcast(FLOATS, -0.108418577f));
        p = p.fma(t, FloatVector.broadcast(FLOATS, -0.633219893f));
        p = p.fma(t, FloatVector.broadcast(FLOATS, -1.12957842f));
        p = p.fma(t, FloatVector.broadcast(FLOATS, 0.000188040231f));
        return FloatVector.broadcast(FLOATS, 1f).sub(exp(p));
    }
}
