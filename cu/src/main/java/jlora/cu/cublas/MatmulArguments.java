package jlora.cu.cublas;

/**
 * What one run of a product works on: device addresses, and factors.
 *
 * @param bias 0 where the shape has none
 * @param scaleA device address of the f32 factors of an FP8 matrix A, as many as its {@link
 *     MatrixScaling} says; 0 for a scalar of one
 * @param scaleB likewise of B
 */
public record MatmulArguments(
        long a, long b, long d, float alpha, long bias, long scaleA, long scaleB) {

    /** A product of matrices without scales of their own. */
    public MatmulArguments(long a, long b, long d, float alpha, long bias) {
        this(a, b, d, alpha, bias, 0, 0);
    }
}
