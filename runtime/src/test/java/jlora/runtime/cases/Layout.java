package jlora.runtime.cases;

/**
 * How a tensor of a case lies in its storage.
 *
 * @param guard elements before the first and behind the last row, which no kernel may touch
 * @param pad columns behind each row, likewise
 */
public record Layout(int guard, int pad) {
    /** Rows without a gap, as far aligned as storages are. */
    public static final Layout DENSE = new Layout(128, 0);

    /** Rows with pad columns for a border; every row starts on an even boundary. */
    public static final Layout PADDED = new Layout(128, 16);

    /** Nothing is aligned: odd offset, odd stride. */
    public static final Layout ODD = new Layout(7, 5);
}
