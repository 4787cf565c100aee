package jlora.runtime.weight;

import jlora.runtime.tensor.Tensor;

/**
 * The rows of a matrix that are kept here.
 *
 * @param here some of its rows, maybe none
 * @param first the number of the first of them
 * @param of how many rows the whole matrix has
 */
public record HeldRows(Tensor here, long first, long of) implements Held {
    public HeldRows {
        if (first < 0 || first + here.rows() > of) {
            throw new IllegalArgumentException(
                    here.describe() + " from row " + first + " of " + of);
        }
    }

    /** A matrix that is here as a whole. */
    public static HeldRows all(Tensor matrix) {
        return new HeldRows(matrix, 0, matrix.rows());
    }

    @Override
    public long cols() {
        return here.cols();
    }

    @Override
    public boolean whole() {
        return of == here.rows();
    }

    /** What is here of the rows {@code from .. from + count}. */
    HeldRows part(long from, long count) {
        long start = Math.clamp(from - first, 0, here.rows());
        long end = Math.clamp(from + count - first, 0, here.rows());
        if (start == end) {
            return new HeldRows(here.rows(0, 0), 0, count);
        }
        return new HeldRows(here.rows(start, end - start), first + start - from, count);
    }
}
