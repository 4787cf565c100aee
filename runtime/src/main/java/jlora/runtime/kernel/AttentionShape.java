package jlora.runtime.kernel;

/**
 * The geometry of one attention layer. A fused row is [q | k | v] with {@code heads}, {@code
 * kvHeads} and {@code kvHeads} heads of {@code headDim} columns; query head h uses key head h /
 * (heads / kvHeads).
 *
 * @param scale multiplies q·k before the softmax
 * @param window 0, or the number of most recent positions (itself included) that a query sees
 */
public record AttentionShape(int heads, int kvHeads, int headDim, float scale, int window) {
    public AttentionShape {
        if (heads <= 0 || kvHeads <= 0 || headDim <= 0 || heads % kvHeads != 0 || window < 0) {
            throw new IllegalArgumentException(
                    "attention of "
                            + heads
                            + " heads, "
                            + kvHeads
                            + " key heads, head size "
                            + headDim
                            + ", window "
                            + window);
        }
    }

    public int queryCols() {
        return heads * headDim;
    }

    public int keyCols() {
        return kvHeads * headDim;
    }

    /** Columns of a fused [q | k | v] row. */
    public int fusedCols() {
        return queryCols() + 2 * keyCols();
    }
}
