package jlora.runtime.backend.cpu.mpi;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * Open MPI by Panama: ABI names, raw status codes. What {@code mpi.h} calls handles are addresses
 * of the library's own objects, which is what makes this binding one for Open MPI alone.
 */
@SuppressWarnings("restricted")
final class MpiSys {
    // mpi.h
    static final int MPI_SUCCESS = 0;
    static final int MPI_THREAD_SERIALIZED = 2;
    static final int MPI_MAX_ERROR_STRING = 256;
    static final int MPI_MAX_LIBRARY_VERSION_STRING = 256;

    /** {@code (void *) 1}: a collective's input is where its output goes. */
    static final MemorySegment MPI_IN_PLACE = MemorySegment.ofAddress(1);

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
    private static final ValueLayout POINTER = ValueLayout.ADDRESS;

    private final SymbolLookup symbols;
    private final MethodHandle getLibraryVersion;
    private final MethodHandle initThread;
    private final MethodHandle finalizeAll;
    private final MethodHandle setErrorHandler;
    private final MethodHandle errorString;
    private final MethodHandle rank;
    private final MethodHandle size;
    private final MethodHandle barrier;
    private final MethodHandle allReduce;
    private final MethodHandle allGather;
    private final MethodHandle test;
    private final MethodHandle typeContiguous;
    private final MethodHandle typeCreateResized;
    private final MethodHandle typeCommit;

    /** {@code MPI_COMM_WORLD}. */
    final MemorySegment commWorld;

    /** {@code MPI_FLOAT}. */
    final MemorySegment typeFloat;

    /** {@code MPI_BYTE}. */
    final MemorySegment typeByte;

    /** {@code MPI_SUM}. */
    final MemorySegment opSum;

    /** {@code MPI_ERRORS_RETURN}. */
    final MemorySegment errorsReturn;

    /**
     * @throws java.util.NoSuchElementException when the library lacks a symbol
     */
    MpiSys(SymbolLookup symbols) {
        this.symbols = symbols;
        commWorld = symbols.findOrThrow("ompi_mpi_comm_world");
        typeFloat = symbols.findOrThrow("ompi_mpi_float");
        typeByte = symbols.findOrThrow("ompi_mpi_byte");
        opSum = symbols.findOrThrow("ompi_mpi_op_sum");
        errorsReturn = symbols.findOrThrow("ompi_mpi_errors_return");
        getLibraryVersion = status("MPI_Get_library_version", POINTER, POINTER);
        initThread = status("MPI_Init_thread", POINTER, POINTER, INT, POINTER);
        finalizeAll = status("MPI_Finalize");
        setErrorHandler = status("MPI_Comm_set_errhandler", POINTER, POINTER);
        errorString = status("MPI_Error_string", INT, POINTER, POINTER);
        rank = status("MPI_Comm_rank", POINTER, POINTER);
        size = status("MPI_Comm_size", POINTER, POINTER);
        barrier = status("MPI_Ibarrier", POINTER, POINTER);
        allReduce =
                status("MPI_Iallreduce", POINTER, POINTER, INT, POINTER, POINTER, POINTER, POINTER);
        allGather =
                status(
                        "MPI_Iallgather",
                        POINTER,
                        INT,
                        POINTER,
                        POINTER,
                        INT,
                        POINTER,
                        POINTER,
                        POINTER);
        test = status("MPI_Test", POINTER, POINTER, POINTER);
        typeContiguous = status("MPI_Type_contiguous", INT, POINTER, POINTER);
        typeCreateResized = status("MPI_Type_create_resized", POINTER, LONG, LONG, POINTER);
        typeCommit = status("MPI_Type_commit", POINTER);
    }

    private MethodHandle status(String name, MemoryLayout... parameters) {
        return Linker.nativeLinker()
                .downcallHandle(symbols.findOrThrow(name), FunctionDescriptor.of(INT, parameters));
    }

    /** What a call through a handle of ours can throw is a wrong binding, never MPI's error. */
    private static AssertionError badBinding(String name, Throwable cause) {
        return new AssertionError(name + ": bad binding", cause);
    }

    /** May be called before MPI is initialised. */
    int mpiGetLibraryVersion(String[] version) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocate(MPI_MAX_LIBRARY_VERSION_STRING);
            int status = (int) getLibraryVersion.invokeExact(text, arena.allocate(INT));
            version[0] = text.getString(0);
            return status;
        } catch (Throwable t) {
            throw badBinding("MPI_Get_library_version", t);
        }
    }

    /** Once in a process, also after {@link #mpiFinalize}. */
    int mpiInitThread(int required, int[] provided) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(INT);
            int status =
                    (int)
                            initThread.invokeExact(
                                    MemorySegment.NULL, MemorySegment.NULL, required, out);
            provided[0] = out.get(INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("MPI_Init_thread", t);
        }
    }

    int mpiFinalize() {
        try {
            return (int) finalizeAll.invokeExact();
        } catch (Throwable t) {
            throw badBinding("MPI_Finalize", t);
        }
    }

    int mpiCommSetErrhandler(MemorySegment communicator, MemorySegment handler) {
        try {
            return (int) setErrorHandler.invokeExact(communicator, handler);
        } catch (Throwable t) {
            throw badBinding("MPI_Comm_set_errhandler", t);
        }
    }

    String mpiErrorString(int code) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocate(MPI_MAX_ERROR_STRING);
            int status = (int) errorString.invokeExact(code, text, arena.allocate(INT));
            return status == MPI_SUCCESS ? text.getString(0) : "";
        } catch (Throwable t) {
            throw badBinding("MPI_Error_string", t);
        }
    }

    int mpiCommRank(MemorySegment communicator, int[] rankOut) {
        return number("MPI_Comm_rank", rank, communicator, rankOut);
    }

    int mpiCommSize(MemorySegment communicator, int[] sizeOut) {
        return number("MPI_Comm_size", size, communicator, sizeOut);
    }

    private static int number(
            String name, MethodHandle function, MemorySegment communicator, int[] number) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(INT);
            int status = (int) function.invokeExact(communicator, out);
            number[0] = out.get(INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding(name, t);
        }
    }

    /**
     * @param request 8 bytes that keep the request until it is done
     */
    int mpiIbarrier(MemorySegment communicator, MemorySegment request) {
        try {
            return (int) barrier.invokeExact(communicator, request);
        } catch (Throwable t) {
            throw badBinding("MPI_Ibarrier", t);
        }
    }

    int mpiIallreduce(
            MemorySegment send,
            MemorySegment receive,
            int count,
            MemorySegment type,
            MemorySegment op,
            MemorySegment communicator,
            MemorySegment request) {
        try {
            return (int)
                    allReduce.invokeExact(send, receive, count, type, op, communicator, request);
        } catch (Throwable t) {
            throw badBinding("MPI_Iallreduce", t);
        }
    }

    int mpiIallgather(
            MemorySegment send,
            int sendCount,
            MemorySegment sendType,
            MemorySegment receive,
            int receiveCount,
            MemorySegment receiveType,
            MemorySegment communicator,
            MemorySegment request) {
        try {
            return (int)
                    allGather.invokeExact(
                            send,
                            sendCount,
                            sendType,
                            receive,
                            receiveCount,
                            receiveType,
                            communicator,
                            request);
        } catch (Throwable t) {
            throw badBinding("MPI_Iallgather", t);
        }
    }

    /**
     * @param request of a started operation
     * @param flag 4 bytes: not 0 when it is done
     */
    int mpiTest(MemorySegment request, MemorySegment flag) {
        try {
            return (int) test.invokeExact(request, flag, MemorySegment.NULL);
        } catch (Throwable t) {
            throw badBinding("MPI_Test", t);
        }
    }

    /**
     * @param type the new type's handle
     */
    int mpiTypeContiguous(int count, MemorySegment of, MemorySegment[] type) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ValueLayout.ADDRESS);
            int status = (int) typeContiguous.invokeExact(count, of, out);
            type[0] = out.get(ValueLayout.ADDRESS, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("MPI_Type_contiguous", t);
        }
    }

    int mpiTypeCreateResized(MemorySegment of, long lowerBound, long extent, MemorySegment[] type) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ValueLayout.ADDRESS);
            int status = (int) typeCreateResized.invokeExact(of, lowerBound, extent, out);
            type[0] = out.get(ValueLayout.ADDRESS, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("MPI_Type_create_resized", t);
        }
    }

    int mpiTypeCommit(MemorySegment type) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment inOut = arena.allocate(ValueLayout.ADDRESS);
            inOut.set(ValueLayout.ADDRESS, 0, type);
            return (int) typeCommit.invokeExact(inOut);
        } catch (Throwable t) {
            throw badBinding("MPI_Type_commit", t);
        }
    }
}
