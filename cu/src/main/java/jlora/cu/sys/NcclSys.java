package jlora.cu.sys;

import static jlora.cu.sys.Downcalls.INT;
import static jlora.cu.sys.Downcalls.LONG;
import static jlora.cu.sys.Downcalls.POINTER;
import static jlora.cu.sys.Downcalls.badBinding;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * NCCL 2 by Panama: ABI names, raw status codes. Communicators, streams and device addresses are
 * numbers.
 */
public final class NcclSys {
    /** {@code ncclUniqueId}, which is passed by value. */
    public static final StructLayout UNIQUE_ID =
            MemoryLayout.structLayout(
                    MemoryLayout.sequenceLayout(
                                    NcclConstants.NCCL_UNIQUE_ID_BYTES, ValueLayout.JAVA_BYTE)
                            .withName("internal"));

    private final MethodHandle getVersion;
    private final MethodHandle getErrorString;
    private final MethodHandle getLastError;
    private final MethodHandle getUniqueId;
    private final MethodHandle commInitRank;
    private final MethodHandle commFinalize;
    private final MethodHandle commDestroy;
    private final MethodHandle commAbort;
    private final MethodHandle commGetAsyncError;
    private final MethodHandle allReduce;
    private final MethodHandle broadcast;
    private final MethodHandle allGather;

    /**
     * @throws MissingSymbolException when the library lacks a function
     */
    public NcclSys(SymbolLookup symbols) {
        Downcalls library = new Downcalls("libnccl", symbols, "NCCL 2.14");
        getVersion = library.status("ncclGetVersion", POINTER);
        getErrorString =
                library.function("ncclGetErrorString", FunctionDescriptor.of(POINTER, INT));
        getLastError = library.function("ncclGetLastError", FunctionDescriptor.of(POINTER, LONG));
        getUniqueId = library.status("ncclGetUniqueId", POINTER);
        commInitRank = library.status("ncclCommInitRank", POINTER, INT, UNIQUE_ID, INT);
        commFinalize = library.status("ncclCommFinalize", LONG);
        commDestroy = library.status("ncclCommDestroy", LONG);
        commAbort = library.status("ncclCommAbort", LONG);
        commGetAsyncError = library.status("ncclCommGetAsyncError", LONG, POINTER);
        allReduce = library.status("ncclAllReduce", LONG, LONG, LONG, INT, INT, LONG, LONG);
        broadcast = library.status("ncclBroadcast", LONG, LONG, LONG, INT, INT, LONG, LONG);
        allGather = library.status("ncclAllGather", LONG, LONG, LONG, INT, LONG, LONG);
    }

    /** 10000 · major + 100 · minor + patch. */
    public int ncclGetVersion(int[] version) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(INT);
            int status = (int) getVersion.invokeExact(out);
            version[0] = out.get(INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("ncclGetVersion", t);
        }
    }

    public String ncclGetErrorString(int status) {
        try {
            return Downcalls.string((MemorySegment) getErrorString.invokeExact(status));
        } catch (Throwable t) {
            throw badBinding("ncclGetErrorString", t);
        }
    }

    /**
     * @param communicator 0 for calls without one
     */
    public String ncclGetLastError(long communicator) {
        try {
            return Downcalls.string((MemorySegment) getLastError.invokeExact(communicator));
        } catch (Throwable t) {
            throw badBinding("ncclGetLastError", t);
        }
    }

    /**
     * @param id {@code NCCL_UNIQUE_ID_BYTES} long
     */
    public int ncclGetUniqueId(byte[] id) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(UNIQUE_ID);
            int status = (int) getUniqueId.invokeExact(out);
            MemorySegment.copy(out, ValueLayout.JAVA_BYTE, 0, id, 0, id.length);
            return status;
        } catch (Throwable t) {
            throw badBinding("ncclGetUniqueId", t);
        }
    }

    public int ncclCommInitRank(long[] communicator, int ranks, byte[] id, int rank) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(LONG);
            MemorySegment unique = arena.allocate(UNIQUE_ID);
            MemorySegment.copy(id, 0, unique, ValueLayout.JAVA_BYTE, 0, id.length);
            int status = (int) commInitRank.invokeExact(out, ranks, unique, rank);
            communicator[0] = out.get(LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("ncclCommInitRank", t);
        }
    }

    public int ncclCommFinalize(long communicator) {
        return of("ncclCommFinalize", commFinalize, communicator);
    }

    public int ncclCommDestroy(long communicator) {
        return of("ncclCommDestroy", commDestroy, communicator);
    }

    public int ncclCommAbort(long communicator) {
        return of("ncclCommAbort", commAbort, communicator);
    }

    private static int of(String name, MethodHandle function, long communicator) {
        try {
            return (int) function.invokeExact(communicator);
        } catch (Throwable t) {
            throw badBinding(name, t);
        }
    }

    public int ncclCommGetAsyncError(long communicator, int[] error) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(INT);
            int status = (int) commGetAsyncError.invokeExact(communicator, out);
            error[0] = out.get(INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("ncclCommGetAsyncError", t);
        }
    }

    public int ncclAllReduce(
            long send, long receive, long count, int type, int op, long communicator, long stream) {
        try {
            return (int)
                    allReduce.invokeExact(send, receive, count, type, op, communicator, stream);
        } catch (Throwable t) {
            throw badBinding("ncclAllReduce", t);
        }
    }

    public int ncclBroadcast(
            long send,
            long receive,
            long count,
            int type,
            int root,
            long communicator,
            long stream) {
        try {
            return (int)
                    broadcast.invokeExact(send, receive, count, type, root, communicator, stream);
        } catch (Throwable t) {
            throw badBinding("ncclBroadcast", t);
        }
    }

    public int ncclAllGather(
            long send, long receive, long count, int type, long communicator, long stream) {
        try {
            return (int) allGather.invokeExact(send, receive, count, type, communicator, stream);
        } catch (Throwable t) {
            throw badBinding("ncclAllGather", t);
        }
    }
}
