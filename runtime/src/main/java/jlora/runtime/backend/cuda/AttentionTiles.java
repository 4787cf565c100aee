package jlora.runtime.backend.cuda;

/**
 * What a launch of attention.cu needs to know of the kernels for one head size: rows that a block
 * owns and the shared memory it asks for, by the numbers of that file's {@code Shape}.
 */
enum AttentionTiles {
    D64(64, 2, 64, 2, 32, 2, 32),
    D96(96, 2, 64, 1, 32, 1, 32),
    D128(128, 2, 64, 1, 32, 1, 32),
    D256(256, 1, 64, 1, 16, 1, 16);

    static final int THREADS = 128;

    /** Rows of all warps' tiles of 16. */
    private static final int ROWS = 64;

    private static final int BF16 = 2;

    /** Bytes of (lse, δ) of one row. */
    static final int STATISTICS = 8;

    private final int headDim;
    private final int forwardM;
    private final int forwardKeys;
    private final int queryM;
    private final int queryKeys;
    private final int keyM;
    private final int keyQueries;

    AttentionTiles(
            int headDim,
            int forwardM,
            int forwardKeys,
            int queryM,
            int queryKeys,
            int keyM,
            int keyQueries) {
        this.headDim = headDim;
        this.forwardM = forwardM;
        this.forwardKeys = forwardKeys;
        this.queryM = queryM;
        this.queryKeys = queryKeys;
        this.keyM = keyM;
        this.keyQueries = keyQueries;
    }

    /** The smallest that a head of a size fits into. */
    static AttentionTiles of(int headDim) {
        for (AttentionTiles tiles : values()) {
            if (headDim <= tiles.headDim) {
                return tiles;
            }
        }
        throw new IllegalArgumentException("head size " + headDim);
    }

    static int largest() {
        return D256.headDim;
    }

    /** The kernel of this size. */
    String kernel(String what) {
        return "attention_" + what + "_d" + headDim;
    }

    /** Queries and the operands of forward: one tile of keys, one of values. */
    int forwardRows() {
        return ROWS * forwardM;
    }

    long forwardBytes() {
        return bytes(forwardRows() + 2 * forwardKeys);
    }

    int queryRows() {
        return ROWS * queryM;
    }

    /**
     * Queries and dO, and two tiles each of keys and values, which lie in the same place if held.
     */
    long queryBytes() {
        int own = 2 * queryRows();
        int others = 4 * queryKeys;
        return bytes(headDim <= 128 ? Math.max(own, others) : own + others);
    }

    int keyRows() {
        return ROWS * keyM;
    }

    /** Keys and values, and two tiles each of queries, dO and statistics. */
    long keyBytes() {
        return bytes(2 * keyRows() + 4 * keyQueries) + 2L * keyQueries * STATISTICS;
    }

    /** Whether dV comes from a launch of its own. */
    boolean valuesApart() {
        return this == D256;
    }

    private long bytes(int rows) {
        return (long) rows * headDim * BF16;
    }
}
