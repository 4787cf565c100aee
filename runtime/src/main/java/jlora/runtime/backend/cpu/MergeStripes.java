package jlora.runtime.backend.cpu;

import jlora.runtime.tensor.Tensor;

/**
 * A matrix cut into rectangles, numbered row by row: each is merged, recorded and restored on its
 * own, so the cut does not depend on the number of threads.
 */
record MergeStripes(long rows, long cols) {
    /** Columns of a rectangle, at most: 16 rows of A take 32 KiB as f32. */
    static final int COLS = 512;

    /** Rows of a rectangle, at most: enough to pay for widening A. */
    static final int ROWS = 128;

    /** One rectangle. */
    record Stripe(long row, int rows, long col, int cols) {
        int elements() {
            return rows * cols;
        }
    }

    static MergeStripes of(Tensor w) {
        return new MergeStripes(w.rows(), w.cols());
    }

    private long across() {
        return (cols + COLS - 1) / COLS;
    }

    int count() {
        return Math.toIntExact((rows + ROWS - 1) / ROWS * across());
    }

    Stripe stripe(int number) {
        long row = number / across() * ROWS;
        long col = number % across() * COLS;
        return new Stripe(
                row, (int) Math.min(ROWS, rows - row), col, (int) Math.min(COLS, cols - col));
    }
}
