package jlora.runtime.kernel;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.Objects;
import java.util.Optional;

/**
 * A matrix in FP8 (E4M3, arXiv 2209.05433): an element is the value of its code times a scale. The
 * scales lie as cuBLASLt reads them ("Scaling factors layouts" in its documentation), so products
 * take them where they are.
 *
 * @param codes {@link DType#F8_E4M3} [r,c]; the library's products ask for rows that start at
 *     multiples of {@link #ALIGNMENT} bytes
 * @param scaling which elements share a scale
 * @param scales f32, of the shape that {@link Scaling} says; empty with {@link Scaling#NONE}
 */
public record Fp8Matrix(Tensor codes, Scaling scaling, Optional<Tensor> scales) {
    /** Which elements share a scale, and how the scales of a matrix [r,c] lie. */
    public enum Scaling {
        /** Elements are the values of their codes: the transpose of a matrix scaled by rows. */
        NONE,
        /** One scale a row: [1,r]. */
        ROW,
        /**
         * One scale for {@link #BLOCK} adjacent elements of a row: [⌈c/128⌉,r], scales of adjacent
         * rows side by side. For activations.
         */
        PIECE,
        /**
         * One scale for {@link #BLOCK} x {@link #BLOCK} elements: [⌈r/128⌉,⌈c/128⌉], and the
         * library's products ask for rows of scales that are a multiple of 4 apart. For weights.
         */
        BLOCK;

        /** How activations are scaled that are multiplied by a weight scaled like this. */
        public Scaling ofActivations() {
            return switch (this) {
                case NONE, ROW -> ROW;
                case BLOCK -> PIECE;
                case PIECE -> throw new IllegalArgumentException("no weight is scaled by pieces");
            };
        }

        /** How the transpose of a weight is scaled. */
        public Scaling ofTranspose() {
            return switch (this) {
                case NONE, ROW -> NONE;
                case BLOCK -> BLOCK;
                case PIECE -> throw new IllegalArgumentException("no weight is scaled by pieces");
            };
        }
    }

    /** Gives a dense tensor a name and a storage: a weight's, or scratch of a step. */
    @FunctionalInterface
    public interface Allocation {
        Tensor dense(String what, DType dtype, long rows, long cols);
    }

    /** Elements along each side that share a scale. */
    public static final int BLOCK = 128;

    /** Bytes that rows of codes and scales should start at multiples of. */
    public static final int ALIGNMENT = 16;

    /** The largest value of a code. */
    public static final float LARGEST = 448;

    /**
     * The smallest magnitude that a scale is made for; smaller ones, zeros included, share its
     * scale, so that neither a scale nor its reciprocal leaves the range of f32.
     */
    public static final float LEAST_MAGNITUDE = 0x1p-100f;

    private static final int FLOATS = ALIGNMENT / Float.BYTES;

    public Fp8Matrix {
        Objects.requireNonNull(scaling);
        if (codes.dtype() != DType.F8_E4M3 || scales.isPresent() == (scaling == Scaling.NONE)) {
            throw new IllegalArgumentException(
                    "no FP8 matrix: " + codes.describe() + " with scales " + scales);
        }
        if (scales.isPresent()) {
            long rows = scaleRows(scaling, codes.rows(), codes.cols());
            long cols = scaling == Scaling.BLOCK ? blocks(codes.cols()) : codes.rows();
            Tensor given = scales.get();
            if (given.dtype() != DType.F32 || given.rows() != rows || given.cols() != cols) {
                throw new IllegalArgumentException(
                        given.describe() + " should be [" + rows + ", " + cols + "] float32");
            }
        }
    }

    /** A matrix over tensors of its own, laid out as the library's products want it. */
    public static Fp8Matrix allocate(long rows, long cols, Scaling scaling, Allocation allocation) {
        Tensor codes =
                allocation
                        .dense("codes", DType.F8_E4M3, rows, up(cols, ALIGNMENT))
                        .columns(0, cols);
        if (scaling == Scaling.NONE) {
            return new Fp8Matrix(codes, scaling, Optional.empty());
        }
        // Only rows of blocks need a gap: the library wants the others dense.
        long each = scaling == Scaling.BLOCK ? blocks(cols) : rows;
        long step = scaling == Scaling.BLOCK ? up(each, FLOATS) : each;
        Tensor scales = allocation.dense("scales", DType.F32, scaleRows(scaling, rows, cols), step);
        return new Fp8Matrix(codes, scaling, Optional.of(scales.columns(0, each)));
    }

    private static long scaleRows(Scaling scaling, long rows, long cols) {
        return switch (scaling) {
            case NONE -> 0;
            case ROW -> 1;
            case PIECE -> blocks(cols);
            case BLOCK -> blocks(rows);
        };
    }

    private static long blocks(long elements) {
        return Math.ceilDiv(elements, (long) BLOCK);
    }

    private static long up(long value, long unit) {
        return Math.ceilDiv(value, unit) * unit;
    }

    public long rows() {
        return codes.rows();
    }

    public long cols() {
        return codes.cols();
    }

    /**
     * Adjacent rows of this matrix with their scales, such as a weight is quantised by.
     *
     * @param first a multiple of {@link #BLOCK} where blocks share scales
     * @param count likewise, unless the rows are the last
     */
    public Fp8Matrix rows(long first, long count) {
        boolean whole = first % BLOCK == 0 && (count % BLOCK == 0 || first + count == rows());
        if (scaling == Scaling.BLOCK && !whole) {
            throw new IllegalArgumentException(
                    "rows " + first + "+" + count + " of " + this + " share scales with others");
        }
        Optional<Tensor> part =
                switch (scaling) {
                    case NONE -> Optional.empty();
                    case ROW, PIECE -> scales.map(all -> all.columns(first, count));
                    case BLOCK -> scales.map(all -> all.rows(first / BLOCK, blocks(count)));
                };
        return new Fp8Matrix(codes.rows(first, count), scaling, part);
    }

    /**
     * What products ask for: out[T,N] of x[T,K] and weight[N,K].
     *
     * @throws IllegalArgumentException where shapes or scalings do not go together
     */
    public static void checkProduct(Tensor out, Fp8Matrix x, Fp8Matrix weight) {
        boolean shapes =
                x.rows() == out.rows() && weight.rows() == out.cols() && x.cols() == weight.cols();
        if (!shapes || x.scaling() != weight.scaling().ofActivations() || !out.dtype().isFloat()) {
            throw new IllegalArgumentException(
                    "no product: " + out.describe() + " of " + x + " and " + weight);
        }
    }

    /** Name, shape and scaling for messages. */
    @Override
    public String toString() {
        return codes.describe() + " scaled by " + scaling;
    }
}
