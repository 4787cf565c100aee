package jlora.runtime.kernel;

import java.util.List;

/**
 * What a merge lost: for each weight that {@code round(W1 − delta)} does not give back, what does.
 * Belongs to the backend that made it, owns its memory, and serves one unmerge.
 */
public interface Corrections extends AutoCloseable {
    /** The form of a record, whichever takes the fewest bytes. */
    enum Kind {
        /** Every weight rounds back. */
        NONE,
        /** Positions, as distances from one to the next or in a tile, and what differs there. */
        SPARSE,
        /**
         * Two bits per weight: right, one step of the type up, one step down, or listed in full.
         */
        CODES,
        /** The weights themselves. */
        COPY
    }

    /**
     * The record of one matrix.
     *
     * @param kind the form of it, or of most of it where parts of a matrix differ
     * @param corrected weights that do not round back
     * @param bytes of the record, its tables included
     */
    record Matrix(Kind kind, long corrected, long bytes) {}

    /** One per merged matrix, in their order. */
    List<Matrix> matrices();

    /** Bytes of memory that are held. */
    long bytes();

    /** Frees the records; twice is fine. */
    @Override
    void close();
}
