package jlora.runtime.backend.cpu.mpi;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntSupplier;

/**
 * Open MPI's world, joined: status codes and waits without end become exceptions here. Waiting is
 * asking again and again, so that a rank that never comes is noticed; the two calls that cannot be
 * asked, to join and to leave, run in threads that may be left behind.
 */
final class Mpi {
    /** A peer that computes for as long as this is worth the processor's time that asking takes. */
    private static final long SPIN_NANOS = 100_000;

    private static final long PATIENT_NANOS = 50_000;

    private final MpiSys sys;
    private final Duration timeout;
    private final int rank;
    private final int ranks;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment flag = arena.allocate(ValueLayout.JAVA_INT);
    private final Map<Slice, MemorySegment> sliceTypes = new HashMap<>();
    private boolean lost;

    /** Bytes of each rank's part that are gathered at a time. */
    private record Slice(int bytes, long partBytes) {}

    /** A started operation. */
    record Request(MemorySegment handle) {}

    private Mpi(MpiSys sys, Duration timeout) {
        this.sys = sys;
        this.timeout = timeout;
        int[] provided = new int[1];
        // Not the thread that calls later: to join may take for ever.
        alone("MPI_Init_thread", () -> sys.mpiInitThread(MpiSys.MPI_THREAD_SERIALIZED, provided));
        if (provided[0] < MpiSys.MPI_THREAD_SERIALIZED) {
            throw JloraException.usage(
                    "this Open MPI was built without threads, and Java has several; install one"
                            + " with them (Debian's libopenmpi3 has).");
        }
        check("MPI_Comm_set_errhandler", sys.mpiCommSetErrhandler(sys.commWorld, sys.errorsReturn));
        int[] number = new int[1];
        check("MPI_Comm_rank", sys.mpiCommRank(sys.commWorld, number));
        this.rank = number[0];
        check("MPI_Comm_size", sys.mpiCommSize(sys.commWorld, number));
        this.ranks = number[0];
    }

    /**
     * Joins; once in a process.
     *
     * @param timeout of every wait for the others; zero waits for ever
     */
    static Mpi join(Duration timeout) {
        return new Mpi(MpiLibrary.open(), timeout);
    }

    int rank() {
        return rank;
    }

    int ranks() {
        return ranks;
    }

    /** Such as {@code Open MPI v4.1.4}. */
    String version() {
        String[] version = new String[1];
        check("MPI_Get_library_version", sys.mpiGetLibraryVersion(version));
        return version[0].split(",", 2)[0];
    }

    Request newRequest() {
        return new Request(arena.allocate(ValueLayout.ADDRESS));
    }

    /** Starts to wait for all ranks. */
    void arrive(Request request) {
        check("MPI_Ibarrier", sys.mpiIbarrier(sys.commWorld, request.handle));
    }

    /** Starts to sum f32 numbers over all ranks, in place. */
    void sum(MemorySegment numbers, Request request) {
        check(
                "MPI_Iallreduce",
                sys.mpiIallreduce(
                        MpiSys.MPI_IN_PLACE,
                        numbers,
                        Math.toIntExact(numbers.byteSize() / Float.BYTES),
                        sys.typeFloat,
                        sys.opSum,
                        sys.commWorld,
                        request.handle));
    }

    /**
     * Starts to gather a slice of every rank's part.
     *
     * @param whole from the slice's place in the first rank's part on
     * @param part this rank's slice; empty when it lies in the whole already
     * @param bytes of the slice
     * @param partBytes of a whole part
     */
    void gather(
            MemorySegment whole,
            Optional<MemorySegment> part,
            int bytes,
            long partBytes,
            Request request) {
        check(
                "MPI_Iallgather",
                sys.mpiIallgather(
                        part.orElse(MpiSys.MPI_IN_PLACE),
                        bytes,
                        sys.typeByte,
                        whole,
                        1,
                        sliceTypes.computeIfAbsent(new Slice(bytes, partBytes), this::type),
                        sys.commWorld,
                        request.handle));
    }

    /**
     * A slice that reaches as far as a part: so the slices of two ranks lie a part from each other,
     * however large that is (counts are int, extents are long).
     */
    private MemorySegment type(Slice slice) {
        MemorySegment[] type = new MemorySegment[1];
        check("MPI_Type_contiguous", sys.mpiTypeContiguous(slice.bytes, sys.typeByte, type));
        check(
                "MPI_Type_create_resized",
                sys.mpiTypeCreateResized(type[0], 0, slice.partBytes, type));
        check("MPI_Type_commit", sys.mpiTypeCommit(type[0]));
        return type[0];
    }

    /** When a wait that starts now must end, by {@link System#nanoTime}. */
    long deadline() {
        return System.nanoTime() + timeout.toNanos();
    }

    /**
     * Waits for an operation.
     *
     * @param what for the message
     * @param patient whether others may still be computing: then the processor is left to them
     *     between questions; a transfer that runs moves on with each question instead
     */
    void await(Request request, long deadline, boolean patient, String what) {
        long start = System.nanoTime();
        while (!done(request)) {
            long now = System.nanoTime();
            if (!timeout.isZero() && now - deadline > 0) {
                throw timedOut(what);
            }
            if (now - start < SPIN_NANOS) {
                Thread.onSpinWait();
            } else if (patient) {
                LockSupport.parkNanos(PATIENT_NANOS);
            } else {
                Thread.yield();
            }
        }
    }

    private boolean done(Request request) {
        check("MPI_Test", sys.mpiTest(request.handle, flag));
        return flag.get(ValueLayout.JAVA_INT, 0) != 0;
    }

    /** Leaves, when all ranks have said that they will. */
    void leave() {
        alone("MPI_Finalize", sys::mpiFinalize);
    }

    /** True when a peer was lost: MPI must then be called no more, not even to leave it. */
    boolean lost() {
        return lost;
    }

    private void alone(String call, IntSupplier work) {
        CompletableFuture<Integer> status = new CompletableFuture<>();
        Thread.ofPlatform()
                .daemon()
                .name("mpi")
                .start(
                        () -> {
                            try {
                                status.complete(work.getAsInt());
                            } catch (Throwable t) {
                                status.completeExceptionally(t);
                            }
                        });
        try {
            check(
                    call,
                    timeout.isZero()
                            ? status.get()
                            : status.get(timeout.toNanos(), TimeUnit.NANOSECONDS));
        } catch (TimeoutException e) {
            throw timedOut(call.equals("MPI_Finalize") ? "leaving MPI" : "joining MPI");
        } catch (ExecutionException e) {
            throw new IllegalStateException(e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(call + " was interrupted", e);
        }
    }

    private JloraException timedOut(String what) {
        lost = true;
        return new JloraException(
                ExitCode.HANG,
                String.format(
                        Locale.ROOT,
                        "another worker did not come within %s s (%s): it is lost, stopped or far"
                                + " behind; see its messages, or raise step_timeout.",
                        timeout.toMillis() / 1000.0,
                        what));
    }

    private void check(String call, int status) {
        if (status != MpiSys.MPI_SUCCESS) {
            lost = true;
            throw new JloraException(
                    ExitCode.HANG,
                    "the connection to the other workers failed ("
                            + call
                            + ": "
                            + sys.mpiErrorString(status)
                            + "): one of them is lost, or the network is; see its messages.");
        }
    }
}
