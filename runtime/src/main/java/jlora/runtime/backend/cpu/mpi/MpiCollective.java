package jlora.runtime.backend.cpu.mpi;

import jlora.runtime.backend.Collective;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Optional;

/** Ranks that Open MPI joins, over tensors in host memory; an operation is done when it returns. */
public final class MpiCollective implements Collective {
    /**
     * The most that is summed at a time: MPI needs as much memory again for it, and a fixed size
     * fixes the order of additions.
     */
    private static final long SUM_BYTES = 4L << 20;

    /** The most that is gathered at a time of each rank's part; MPI counts in int. */
    private static final long GATHER_BYTES = 1L << 30;

    /** Operations under way at a time. */
    private static final int DEPTH = 4;

    /** From here on ranks first wait for each other, with patience, and then move what is large. */
    private static final long LARGE_BYTES = 64L << 10;

    private final Mpi mpi;
    private final long sumBytes;
    private final long gatherBytes;
    private final Deque<Mpi.Request> free = new ArrayDeque<>();
    private boolean finished;
    private boolean closed;

    private MpiCollective(Mpi mpi, long sumBytes, long gatherBytes) {
        this.mpi = mpi;
        this.sumBytes = sumBytes;
        this.gatherBytes = gatherBytes;
        for (int i = 0; i < DEPTH; i++) {
            free.add(mpi.newRequest());
        }
    }

    /**
     * Joins the processes that mpirun or srun started together; once in a process. A missing
     * library, or one that is not Open MPI's, is exit code 2.
     *
     * @param timeout of each operation; zero waits for ever
     */
    public static MpiCollective join(Duration timeout) {
        return join(timeout, SUM_BYTES, GATHER_BYTES);
    }

    static MpiCollective join(Duration timeout, long sumBytes, long gatherBytes) {
        return new MpiCollective(Mpi.join(timeout), sumBytes, gatherBytes);
    }

    @Override
    public int rank() {
        return mpi.rank();
    }

    @Override
    public int ranks() {
        return mpi.ranks();
    }

    @Override
    public String describe() {
        return mpi.version();
    }

    @Override
    public void sum(Tensor inPlace) {
        Collective.requireSum(inPlace);
        long bytes = inPlace.elements() * Float.BYTES;
        MemorySegment all = inPlace.segment().asSlice(inPlace.byteOffset(0), bytes);
        String what = "the sum of " + inPlace.describe();
        inPieces(
                bytes,
                sumBytes,
                bytes,
                what,
                (at, size, request) -> mpi.sum(all.asSlice(at, size), request));
    }

    @Override
    public void gather(Tensor whole, Tensor part) {
        Collective.requireGather(whole, part, ranks());
        long bytes = part.elements() * part.dtype().bytes();
        MemorySegment to = whole.segment().asSlice(whole.byteOffset(0), bytes * ranks());
        MemorySegment from = part.segment().asSlice(part.byteOffset(0), bytes);
        boolean there = from.address() == to.address() + bytes * rank();
        inPieces(
                bytes,
                gatherBytes,
                bytes * ranks(),
                "the gathering of " + whole.describe(),
                (at, size, request) ->
                        mpi.gather(
                                to.asSlice(at),
                                there ? Optional.empty() : Optional.of(from.asSlice(at, size)),
                                Math.toIntExact(size),
                                bytes,
                                request));
    }

    @FunctionalInterface
    private interface Start {
        void piece(long at, long bytes, Mpi.Request request);
    }

    /**
     * @param moved bytes that the whole operation moves
     */
    private void inPieces(long bytes, long most, long moved, String what, Start start) {
        if (closed || mpi.lost()) {
            throw new IllegalStateException("the worker has left its group");
        }
        long deadline = mpi.deadline();
        boolean large = moved >= LARGE_BYTES;
        if (large) {
            arrive(deadline, what);
        }
        Deque<Mpi.Request> running = new ArrayDeque<>();
        for (long at = 0; at < bytes; at += most) {
            if (free.isEmpty()) {
                finishOne(running, deadline, large, what);
            }
            Mpi.Request request = free.pop();
            start.piece(at, Math.min(most, bytes - at), request);
            running.add(request);
        }
        while (!running.isEmpty()) {
            finishOne(running, deadline, large, what);
        }
    }

    private void finishOne(Deque<Mpi.Request> running, long deadline, boolean large, String what) {
        Mpi.Request first = running.remove();
        mpi.await(first, deadline, !large, what);
        free.push(first);
    }

    private void arrive(long deadline, String what) {
        Mpi.Request request = free.pop();
        mpi.arrive(request);
        mpi.await(request, deadline, true, what);
        free.push(request);
    }

    @Override
    public void finish() {
        if (!closed && !finished) {
            arrive(mpi.deadline(), "the end of the run");
            finished = true;
        }
    }

    /**
     * Leaves MPI after {@link #finish}; without it the process must end, since the others' calls
     * may still reach into this one's memory.
     */
    @Override
    public void close() {
        if (!closed) {
            closed = true;
            if (finished && !mpi.lost()) {
                mpi.leave();
            }
        }
    }
}
