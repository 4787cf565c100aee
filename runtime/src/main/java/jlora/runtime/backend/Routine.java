package jlora.runtime.backend;

/**
 * Work that runs again and again; see {@link Backend#routine}. Close it before the memory that it
 * uses.
 */
public interface Routine extends AutoCloseable {
    /** Starts the work. */
    void run();

    /**
     * Kernels, copies and fills that the next run starts with one launch; 0 when it starts each by
     * itself, as a CPU always does and a GPU the first time.
     */
    long nodes();

    @Override
    void close();
}
