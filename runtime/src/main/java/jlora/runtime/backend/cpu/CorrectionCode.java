package jlora.runtime.backend.cpu;

import jlora.runtime.kernel.Corrections;

/**
 * Writes or reads the corrections of one rectangle, in ascending positions. Weights are given as
 * bits of their own type.
 */
interface CorrectionCode {
    /** Starts to write a rectangle of so many weights, to the front of an array that is zero. */
    void start(byte[] to, int elements);

    /** The weight at this position was {@code before}, where {@code back} comes back. */
    void add(int position, int before, int back);

    /** Starts to read what was written for a rectangle of so many weights. */
    void open(byte[] from, int length, int elements);

    /** The next position of a weight that does not come back; {@code elements} behind the last. */
    int next();

    /** What the weight at {@link #next} was, where {@code back} comes back; goes on. */
    int before(int back);

    /** For weights of so many bytes. */
    static CorrectionCode of(Corrections.Kind kind, int width) {
        return switch (kind) {
            case SPARSE -> new SparseCorrections(width);
            case CODES -> new CodedCorrections(width);
            case NONE, COPY -> throw new IllegalArgumentException(kind + " is no code");
        };
    }
}
