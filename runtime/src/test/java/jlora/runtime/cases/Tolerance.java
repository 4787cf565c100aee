package jlora.runtime.cases;

import jlora.runtime.tensor.DType;

/**
 * How far a result may be from the reference: |difference| ≤ absolute + relative · max(|expected|,
 * root mean square of the expected tensor's finite, non-zero elements).
 *
 * @param undefined whether NaN may be expected, which then is the only right result; otherwise a
 *     reference that gives NaN is a mistake of the case
 * @param reason why not less
 */
public record Tolerance(double relative, double absolute, boolean undefined, String reason) {
    private static final double F32_ULP = 0x1p-23;

    /** From one bf16 number to the next: what a sum on either side of a tie makes. */
    private static final double BF16_ULP = 0x1p-7;

    public Tolerance(double relative, double absolute, String reason) {
        this(relative, absolute, false, reason);
    }

    /** The same bits. */
    public static Tolerance exact(String reason) {
        return new Tolerance(0, 0, reason);
    }

    /** Results of a few f32 operations, or of an f32 sum of so many terms. */
    public static Tolerance f32(DType stored, long terms) {
        double relative = (8 + Math.sqrt(terms)) * F32_ULP;
        return stored == DType.BF16
                ? new Tolerance(
                        relative + BF16_ULP,
                        0,
                        "f32 sums rounded to bf16, where ties may fall either way")
                : new Tolerance(
                        relative, 0, "f32 sums in another order: the error grows as √terms");
    }

    /**
     * Like {@link #f32}, when operands of type {@code operands} may also be rounded on the way
     * (probabilities, say).
     */
    public static Tolerance rounding(DType operands, DType stored, long terms) {
        Tolerance sum = f32(stored, terms);
        return operands == DType.BF16
                ? new Tolerance(
                        sum.relative + BF16_ULP,
                        sum.absolute,
                        "intermediate values may be rounded to bf16 before a product")
                : sum;
    }

    public Tolerance plusAbsolute(double more, String why) {
        return new Tolerance(relative, absolute + more, undefined, reason + "; " + why);
    }

    public Tolerance plusRelative(double more, String why) {
        return new Tolerance(relative + more, absolute, undefined, reason + "; " + why);
    }

    public Tolerance times(double factor, String why) {
        return new Tolerance(relative * factor, absolute * factor, undefined, reason + "; " + why);
    }

    /** The same, where NaN is expected as well. */
    public Tolerance orNaN(String why) {
        return new Tolerance(relative, absolute, true, reason + "; " + why);
    }

    /**
     * The difference that is allowed where {@code expected} is expected in a tensor of this scale.
     */
    double limit(double expected, double scale) {
        return absolute + relative * Math.max(Math.abs(expected), scale);
    }
}
