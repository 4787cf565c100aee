package jlora.runtime.backend.cpu;

/**
 * Spreads an element-wise kernel over the pool in stretches of a row that, with a few operands,
 * stay in the first-level cache.
 */
final class Chunks {
    /** Columns of one stretch, at most: a multiple of every vector length. */
    static final int LENGTH = 1024;

    /**
     * Work on {@code count} elements of a row from a column on, with scratch that is the calling
     * thread's own.
     */
    @FunctionalInterface
    interface Body {
        void run(float[][] scratch, long row, long col, int count);
    }

    private Chunks() {}

    /** Covers a [rows, cols] tensor; each part has {@code operands} arrays of {@link #LENGTH}. */
    static void run(CpuPool pool, long rows, long cols, int operands, Body body) {
        long perRow = (cols + LENGTH - 1) / LENGTH;
        pool.run(
                rows * perRow,
                Rows.grain(Math.min(cols, LENGTH)),
                (part, from, to) -> {
                    float[][] scratch = new float[operands][LENGTH];
                    for (long chunk = from; chunk < to; chunk++) {
                        long col = chunk % perRow * LENGTH;
                        body.run(scratch, chunk / perRow, col, (int) Math.min(LENGTH, cols - col));
                    }
                });
    }
}
