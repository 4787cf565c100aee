package jlora.runtime.weight;

/** What is kept here of a matrix of a checkpoint, and in which form. */
public sealed interface Held permits HeldRows, HeldCodes, HeldFp8 {
    /** The number of its first row that is here; what is not shared is here as a whole. */
    default long first() {
        return 0;
    }

    /** How many rows the whole matrix has. */
    long of();

    long cols();

    /** True when all rows are here. */
    default boolean whole() {
        return true;
    }
}
