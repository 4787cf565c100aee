package jlora.runtime.weight;

import jlora.runtime.backend.Collective;

/**
 * How the ranks of a run share the frozen weights: each keeps 1/N of the rows of every matrix, and
 * all of them together make it whole where a plan reads it. Plans need the numbers alone; runs need
 * the ranks {@link #join joined}.
 */
public final class Sharding {
    private final int rank;
    private final int ranks;
    private Collective collective;

    /**
     * @param rank this process's, from 0
     */
    public Sharding(int rank, int ranks) {
        if (ranks < 1 || rank < 0 || rank >= ranks) {
            throw new IllegalArgumentException("rank " + rank + " of " + ranks);
        }
        this.rank = rank;
        this.ranks = ranks;
    }

    public int rank() {
        return rank;
    }

    public int ranks() {
        return ranks;
    }

    /** Names what the ranks gather by; it belongs to the backend that holds the weights. */
    public void join(Collective with) {
        if (with.rank() != rank || with.ranks() != ranks) {
            throw new IllegalArgumentException(
                    "rank "
                            + with.rank()
                            + " of "
                            + with.ranks()
                            + " joins as rank "
                            + rank
                            + " of "
                            + ranks);
        }
        collective = with;
    }

    Collective collective() {
        if (collective == null) {
            throw new IllegalStateException(
                    "frozen weights are shared by " + ranks + " ranks that have not been joined");
        }
        return collective;
    }

    /** Rows of a matrix that each rank keeps; the last ranks' may be rows of zeros. */
    long share(long rows) {
        return Math.ceilDiv(rows, (long) ranks);
    }
}
