package jlora.cu.cublas;

import java.util.Objects;

/**
 * Everything about a product but its addresses and factors: D[m,n] = alpha · op(A)[m,k] ·
 * op(B)[k,n] (+ D) (+ bias[m] on every column), column-major as BLAS has it. What an algorithm is
 * chosen for.
 *
 * @param accumulate the product is added to what D holds
 * @param bias a vector of D's type (bf16 where D is FP8, or A is) is added to each column
 */
public record MatmulShape(
        long m, long n, long k, Matrix a, Matrix b, Matrix d, boolean accumulate, boolean bias) {

    /** The most that {@link #alignment} says: what the widest loads of any algorithm ask for. */
    public static final int ALIGNMENT = 16;

    /**
     * A matrix of a product.
     *
     * @param transposed op(X) is the transpose of what is stored; not for D
     * @param leadingDimension elements from one stored column to the next
     * @param alignment bytes, a power of two up to {@link #ALIGNMENT}, that its address is a
     *     multiple of; D's is the bias's too
     * @param scaling of an FP8 matrix A or B
     */
    public record Matrix(
            MatrixType type,
            boolean transposed,
            long leadingDimension,
            int alignment,
            MatrixScaling scaling) {
        public Matrix {
            Objects.requireNonNull(type);
            if (scaling != MatrixScaling.SCALAR && !type.isFp8()) {
                throw new IllegalArgumentException(type + " scaled by " + scaling);
            }
            if (leadingDimension < 1
                    || alignment < 1
                    || alignment > ALIGNMENT
                    || Integer.bitCount(alignment) != 1) {
                throw new IllegalArgumentException(
                        "leading dimension " + leadingDimension + ", alignment " + alignment);
            }
        }

        /** A matrix without factors, or with one for all. */
        public Matrix(MatrixType type, boolean transposed, long leadingDimension, int alignment) {
            this(type, transposed, leadingDimension, alignment, MatrixScaling.SCALAR);
        }

        private boolean aligned() {
            return alignment == ALIGNMENT && leadingDimension * type.bytes() % ALIGNMENT == 0;
        }

        @Override
        public String toString() {
            return type.label()
                    + (transposed ? "t" : "")
                    + "/"
                    + leadingDimension
                    + scaling.label()
                    + (alignment == ALIGNMENT ? "" : "@" + alignment);
        }
    }

    public MatmulShape {
        if (m < 1 || n < 1 || k < 1 || d.transposed || (accumulate && bias)) {
            throw new IllegalArgumentException(
                    "no product: m " + m + ", n " + n + ", k " + k + ", D " + d);
        }
    }

    /** The alignment of an address as {@link Matrix} has it. */
    public static int alignment(long address) {
        return (int) Math.min(ALIGNMENT, Long.lowestOneBit(address | ALIGNMENT));
    }

    /** True when every column of every matrix starts at a multiple of {@link #ALIGNMENT} bytes. */
    public boolean aligned() {
        return a.aligned() && b.aligned() && d.aligned();
    }

    /** True when factors are not one for a whole matrix: only FP8 matrices have such. */
    public boolean finelyScaled() {
        return a.scaling != MatrixScaling.SCALAR || b.scaling != MatrixScaling.SCALAR;
    }

    /** Multiplications and additions. */
    public double flops() {
        return 2.0 * m * n * k;
    }

    /** The same product with fewer columns. */
    public MatmulShape withColumns(long columns) {
        return new MatmulShape(m, columns, k, a, b, d, accumulate, bias);
    }

    /** One word without blanks, the same for equal shapes: such as in a cache file. */
    @Override
    public String toString() {
        return m
                + "x"
                + n
                + "x"
                + k
                + ","
                + a
                + ","
                + b
                + ","
                + d
                + (accumulate ? ",add" : "")
                + (bias ? ",bias" : "");
    }
}
