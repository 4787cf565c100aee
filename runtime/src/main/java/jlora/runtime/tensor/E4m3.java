package jlora.runtime.tensor;

/**
 * The 8-bit floats of {@link DType#F8_E4M3}: a sign, 4 bits of exponent with bias 7, 3 of mantissa.
 * There is no infinity, and all other bits set is NaN.
 */
public final class E4m3 {
    /** The code of NaN that jlora writes. */
    public static final byte NAN = 0x7F;

    private static final int LARGEST = 0x7E;

    private E4m3() {}

    /** The value of a code, exactly. */
    public static float value(byte code) {
        int magnitude = code & 0x7F;
        int exponent = magnitude >> 3;
        int mantissa = magnitude & 7;
        float value =
                magnitude == NAN
                        ? Float.NaN
                        : exponent == 0
                                ? Math.scalb((float) mantissa, -9)
                                : Math.scalb(8f + mantissa, exponent - 10);
        return code < 0 ? -value : value;
    }

    /** The code nearest to a value, of two the even one; ±448 beyond the range, NaN for NaN. */
    public static byte nearest(double value) {
        if (Double.isNaN(value)) {
            return NAN;
        }
        double magnitude = Math.abs(value);
        int code = 0;
        while (code < LARGEST && value((byte) (code + 1)) <= magnitude) {
            code++;
        }
        if (code < LARGEST) {
            double below = magnitude - value((byte) code);
            double above = value((byte) (code + 1)) - magnitude;
            if (above < below || (above == below && code % 2 == 1)) {
                code++;
            }
        }
        return (byte) (Math.copySign(1, value) < 0 ? code | 0x80 : code);
    }
}
