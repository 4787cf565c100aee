package jlora.cu.nccl;

import jlora.cu.driver.CudaStream;
import jlora.cu.sys.NcclConstants;

import java.util.Arrays;

/**
 * This process's place among ranks that compute together, each on its own device. Collectives are
 * started in a stream and run when every rank has started theirs, in the same order; addresses are
 * of device memory. Used by the thread that launches; only {@link #abort} may come from another.
 */
public final class NcclCommunicator implements AutoCloseable {
    /** What is sent. */
    public enum Type {
        U8(NcclConstants.ncclUint8),
        I32(NcclConstants.ncclInt32),
        I64(NcclConstants.ncclInt64),
        F32(NcclConstants.ncclFloat32),
        BF16(NcclConstants.ncclBfloat16);

        private final int code;

        Type(int code) {
            this.code = code;
        }
    }

    private final Nccl nccl;
    private final int ranks;
    private final int rank;
    private volatile long handle;

    private NcclCommunicator(Nccl nccl, int ranks, int rank, long handle) {
        this.nccl = nccl;
        this.ranks = ranks;
        this.rank = rank;
        this.handle = handle;
    }

    /**
     * Joins, on the device of the current context; blocks until all ranks have.
     *
     * @param id of {@link Nccl#uniqueId}, the same for all
     */
    public static NcclCommunicator join(Nccl nccl, byte[] id, int ranks, int rank) {
        if (id.length != NcclConstants.NCCL_UNIQUE_ID_BYTES) {
            throw new IllegalArgumentException("an id of " + id.length + " bytes");
        }
        if (rank < 0 || rank >= ranks) {
            throw new IllegalArgumentException("rank " + rank + " of " + ranks);
        }
        long[] handle = new long[1];
        nccl.check(
                "ncclCommInitRank",
                nccl.sys().ncclCommInitRank(handle, ranks, Arrays.copyOf(id, id.length), rank),
                0,
                "rank " + rank + " of " + ranks);
        return new NcclCommunicator(nccl, ranks, rank, handle[0]);
    }

    public int ranks() {
        return ranks;
    }

    public int rank() {
        return rank;
    }

    private long handle() {
        long open = handle;
        if (open == 0) {
            throw new IllegalStateException("the communicator of rank " + rank + " is closed");
        }
        return open;
    }

    /**
     * receive = the sum of all ranks' send, which may be the same memory. For a fixed number of
     * ranks, topology and count the sum is the same bits in every run.
     */
    public void allReduceSum(long send, long receive, long count, Type type, CudaStream stream) {
        check(
                "ncclAllReduce",
                nccl.sys()
                        .ncclAllReduce(
                                send,
                                receive,
                                count,
                                type.code,
                                NcclConstants.ncclSum,
                                handle(),
                                stream.handle()),
                count,
                type);
    }

    /** receive = the root's send; send counts on the root alone. */
    public void broadcast(
            long send, long receive, long count, Type type, int root, CudaStream stream) {
        check(
                "ncclBroadcast",
                nccl.sys()
                        .ncclBroadcast(
                                send, receive, count, type.code, root, handle(), stream.handle()),
                count,
                type);
    }

    /** receive = what the ranks send, one behind the other: count elements of each. */
    public void allGather(long send, long receive, long count, Type type, CudaStream stream) {
        check(
                "ncclAllGather",
                nccl.sys()
                        .ncclAllGather(send, receive, count, type.code, handle(), stream.handle()),
                count,
                type);
    }

    private void check(String call, int status, long count, Type type) {
        nccl.check(call, status, handle, count + " of " + type + " on rank " + rank);
    }

    /**
     * Whether a collective that was started has failed since, as when another rank is gone; ask now
     * and then while waiting, and {@link #abort} when it throws.
     */
    public void checkHealth() {
        int[] error = new int[1];
        nccl.check(
                "ncclCommGetAsyncError",
                nccl.sys().ncclCommGetAsyncError(handle(), error),
                handle(),
                "rank " + rank);
        if (error[0] != NcclConstants.ncclInProgress) {
            nccl.check("a collective", error[0], handle(), "rank " + rank);
        }
    }

    /** Ends collectives that hang, and the communicator; twice is fine. */
    public void abort() {
        long aborted = handle;
        if (aborted != 0) {
            handle = 0;
            nccl.check("ncclCommAbort", nccl.sys().ncclCommAbort(aborted), 0, "rank " + rank);
        }
    }

    /** Waits until what was started has run, then leaves; twice is fine. */
    @Override
    public void close() {
        long left = handle;
        if (left != 0) {
            handle = 0;
            int finished = nccl.sys().ncclCommFinalize(left);
            int destroyed = nccl.sys().ncclCommDestroy(left);
            nccl.check("ncclCommFinalize", finished, 0, "rank " + rank);
            nccl.check("ncclCommDestroy", destroyed, 0, "rank " + rank);
        }
    }
}
