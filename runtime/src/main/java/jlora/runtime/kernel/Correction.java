package jlora.runtime.kernel;

/**
 * What a merge loses of one weight matrix: for each weight that {@code round(W1 − delta)} does not
 * give back, what does. Belongs to the backend that made it, owns its memory, and serves one merge
 * and one unmerge.
 */
public interface Correction extends AutoCloseable {
    /** The form of the record, whichever takes the fewest bytes. */
    enum Kind {
        /** Every weight rounds back. */
        NONE,
        /** Positions, as distances from one to the next, and what differs there. */
        SPARSE,
        /**
         * Two bits per weight: right, one step of the type up, one step down, or listed in full.
         */
        CODES,
        /** The weights themselves. */
        COPY
    }

    Kind kind();

    /** Weights that do not round back. */
    long corrected();

    /** Bytes of the record, its tables included. */
    long bytes();

    /** Frees the record; twice is fine. */
    @Override
    void close();
}
