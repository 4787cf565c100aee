package jlora.trainer.job;

import jlora.runtime.tensor.Bf16;

/**
 * Rounds f64 to the 16-bit types, to nearest, ties to even. By way of an f32 that is rounded to
 * odd: its last bit says that something was cut off, so the second rounding decides as if it saw
 * the whole number.
 */
final class RoundOnce {
    private RoundOnce() {}

    static short bfloat16(double value) {
        return Bf16.fromFloat(toOdd(value));
    }

    static short float16(double value) {
        return Float.floatToFloat16(toOdd(value));
    }

    private static float toOdd(double value) {
        float nearest = (float) value;
        if (nearest == value || Double.isNaN(value)) {
            return nearest;
        }
        int bits = Float.floatToRawIntBits(nearest);
        int towardsZero = Math.abs((double) nearest) > Math.abs(value) ? bits - 1 : bits;
        return Float.intBitsToFloat(towardsZero | 1);
    }
}
