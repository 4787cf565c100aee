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
 * The calls of cuBLASLt that jlora uses, with the names and status codes of {@code cublasLt.h} and
 * no policy: 0 is success, results go into the first element of an array or into a segment. Handles
 * and device addresses are {@code long}s.
 */
public final class CublasLtSys {
    /** {@code cublasLtMatmulAlgo_t}: plain words, which may be stored and used again. */
    public static final StructLayout ALGO =
            MemoryLayout.structLayout(
                    MemoryLayout.sequenceLayout(8, ValueLayout.JAVA_LONG).withName("data"));

    /** {@code cublasLtMatmulHeuristicResult_t}. */
    public static final StructLayout HEURISTIC_RESULT =
            MemoryLayout.structLayout(
                    ALGO.withName("algo"),
                    ValueLayout.JAVA_LONG.withName("workspaceSize"),
                    ValueLayout.JAVA_INT.withName("state"),
                    ValueLayout.JAVA_FLOAT.withName("wavesCount"),
                    MemoryLayout.sequenceLayout(4, ValueLayout.JAVA_INT).withName("reserved"));

    private final MethodHandle create;
    private final MethodHandle destroy;
    private final MethodHandle getVersion;
    private final MethodHandle getStatusName;
    private final MethodHandle getStatusString;
    private final MethodHandle matmulDescCreate;
    private final MethodHandle matmulDescDestroy;
    private final MethodHandle matmulDescSetAttribute;
    private final MethodHandle matrixLayoutCreate;
    private final MethodHandle matrixLayoutDestroy;
    private final MethodHandle matrixLayoutSetAttribute;
    private final MethodHandle matmulPreferenceCreate;
    private final MethodHandle matmulPreferenceDestroy;
    private final MethodHandle matmulPreferenceSetAttribute;
    private final MethodHandle matmulAlgoGetHeuristic;
    private final MethodHandle matmulAlgoCheck;
    private final MethodHandle matmulAlgoConfigGetAttribute;
    private final MethodHandle matmul;

    /**
     * @throws MissingSymbolException when the library lacks a function
     */
    public CublasLtSys(SymbolLookup symbols) {
        Downcalls library = new Downcalls("libcublasLt", symbols);
        FunctionDescriptor name = FunctionDescriptor.of(POINTER, INT);
        create = library.status("cublasLtCreate", POINTER);
        destroy = library.status("cublasLtDestroy", LONG);
        getVersion = library.function("cublasLtGetVersion", FunctionDescriptor.of(LONG));
        getStatusName = library.function("cublasLtGetStatusName", name);
        getStatusString = library.function("cublasLtGetStatusString", name);
        matmulDescCreate = library.status("cublasLtMatmulDescCreate", POINTER, INT, INT);
        matmulDescDestroy = library.status("cublasLtMatmulDescDestroy", LONG);
        matmulDescSetAttribute =
                library.status("cublasLtMatmulDescSetAttribute", LONG, INT, POINTER, LONG);
        matrixLayoutCreate =
                library.status("cublasLtMatrixLayoutCreate", POINTER, INT, LONG, LONG, LONG);
        matrixLayoutDestroy = library.status("cublasLtMatrixLayoutDestroy", LONG);
        matrixLayoutSetAttribute =
                library.status("cublasLtMatrixLayoutSetAttribute", LONG, INT, POINTER, LONG);
        matmulPreferenceCreate = library.status("cublasLtMatmulPreferenceCreate", POINTER);
        matmulPreferenceDestroy = library.status("cublasLtMatmulPreferenceDestroy", LONG);
        matmulPreferenceSetAttribute =
                library.status("cublasLtMatmulPreferenceSetAttribute", LONG, INT, POINTER, LONG);
        matmulAlgoGetHeuristic =
                library.status(
                        "cublasLtMatmulAlgoGetHeuristic",
                        LONG,
                        LONG,
                        LONG,
                        LONG,
                        LONG,
                        LONG,
                        LONG,
                        INT,
                        POINTER,
                        POINTER);
        matmulAlgoCheck =
                library.status(
                        "cublasLtMatmulAlgoCheck",
                        LONG,
                        LONG,
                        LONG,
                        LONG,
                        LONG,
                        LONG,
                        POINTER,
                        POINTER);
        matmulAlgoConfigGetAttribute =
                library.status(
                        "cublasLtMatmulAlgoConfigGetAttribute",
                        POINTER,
                        INT,
                        POINTER,
                        LONG,
                        POINTER);
        matmul =
                library.status(
                        "cublasLtMatmul",
                        LONG,
                        LONG,
                        POINTER,
                        LONG,
                        LONG,
                        LONG,
                        LONG,
                        POINTER,
                        LONG,
                        LONG,
                        LONG,
                        LONG,
                        POINTER,
                        LONG,
                        LONG,
                        LONG);
    }

    public int cublasLtCreate(long[] handle) {
        return created("cublasLtCreate", create, handle);
    }

    public int cublasLtDestroy(long handle) {
        return destroyed("cublasLtDestroy", destroy, handle);
    }

    /** Such as 130101 for 13.1.1. */
    public long cublasLtGetVersion() {
        try {
            return (long) getVersion.invokeExact();
        } catch (Throwable t) {
            throw badBinding("cublasLtGetVersion", t);
        }
    }

    public String cublasLtGetStatusName(int status) {
        return text("cublasLtGetStatusName", getStatusName, status);
    }

    public String cublasLtGetStatusString(int status) {
        return text("cublasLtGetStatusString", getStatusString, status);
    }

    public int cublasLtMatmulDescCreate(long[] descriptor, int computeType, int scaleType) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(LONG);
            int status = (int) matmulDescCreate.invokeExact(out, computeType, scaleType);
            descriptor[0] = out.get(LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cublasLtMatmulDescCreate", t);
        }
    }

    public int cublasLtMatmulDescDestroy(long descriptor) {
        return destroyed("cublasLtMatmulDescDestroy", matmulDescDestroy, descriptor);
    }

    public int cublasLtMatmulDescSetAttribute(long descriptor, int attribute, MemorySegment value) {
        return set(
                "cublasLtMatmulDescSetAttribute",
                matmulDescSetAttribute,
                descriptor,
                attribute,
                value);
    }

    public int cublasLtMatrixLayoutCreate(
            long[] layout, int type, long rows, long cols, long leadingDimension) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(LONG);
            int status =
                    (int) matrixLayoutCreate.invokeExact(out, type, rows, cols, leadingDimension);
            layout[0] = out.get(LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cublasLtMatrixLayoutCreate", t);
        }
    }

    public int cublasLtMatrixLayoutDestroy(long layout) {
        return destroyed("cublasLtMatrixLayoutDestroy", matrixLayoutDestroy, layout);
    }

    public int cublasLtMatrixLayoutSetAttribute(long layout, int attribute, MemorySegment value) {
        return set(
                "cublasLtMatrixLayoutSetAttribute",
                matrixLayoutSetAttribute,
                layout,
                attribute,
                value);
    }

    public int cublasLtMatmulPreferenceCreate(long[] preference) {
        return created("cublasLtMatmulPreferenceCreate", matmulPreferenceCreate, preference);
    }

    public int cublasLtMatmulPreferenceDestroy(long preference) {
        return destroyed("cublasLtMatmulPreferenceDestroy", matmulPreferenceDestroy, preference);
    }

    public int cublasLtMatmulPreferenceSetAttribute(
            long preference, int attribute, MemorySegment value) {
        return set(
                "cublasLtMatmulPreferenceSetAttribute",
                matmulPreferenceSetAttribute,
                preference,
                attribute,
                value);
    }

    /**
     * @param results room for {@code requested} {@link #HEURISTIC_RESULT}s
     */
    public int cublasLtMatmulAlgoGetHeuristic(
            long handle,
            long descriptor,
            long a,
            long b,
            long c,
            long d,
            long preference,
            int requested,
            MemorySegment results,
            int[] returned) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(INT);
            int status =
                    (int)
                            matmulAlgoGetHeuristic.invokeExact(
                                    handle,
                                    descriptor,
                                    a,
                                    b,
                                    c,
                                    d,
                                    preference,
                                    requested,
                                    results,
                                    out);
            returned[0] = out.get(INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cublasLtMatmulAlgoGetHeuristic", t);
        }
    }

    /**
     * @param algo an {@link #ALGO}
     * @param result a {@link #HEURISTIC_RESULT}, whose {@code algo} is not written
     */
    public int cublasLtMatmulAlgoCheck(
            long handle,
            long descriptor,
            long a,
            long b,
            long c,
            long d,
            MemorySegment algo,
            MemorySegment result) {
        try {
            return (int) matmulAlgoCheck.invokeExact(handle, descriptor, a, b, c, d, algo, result);
        } catch (Throwable t) {
            throw badBinding("cublasLtMatmulAlgoCheck", t);
        }
    }

    public int cublasLtMatmulAlgoConfigGetAttribute(
            MemorySegment algo, int attribute, MemorySegment value, long[] written) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(LONG);
            int status =
                    (int)
                            matmulAlgoConfigGetAttribute.invokeExact(
                                    algo, attribute, value, value.byteSize(), out);
            written[0] = out.get(LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cublasLtMatmulAlgoConfigGetAttribute", t);
        }
    }

    /** D = alpha · op(A) · op(B) + beta · C; alpha and beta are floats in host memory. */
    public int cublasLtMatmul(
            long handle,
            long descriptor,
            MemorySegment alpha,
            long a,
            long aLayout,
            long b,
            long bLayout,
            MemorySegment beta,
            long c,
            long cLayout,
            long d,
            long dLayout,
            MemorySegment algo,
            long workspace,
            long workspaceBytes,
            long stream) {
        try {
            return (int)
                    matmul.invokeExact(
                            handle,
                            descriptor,
                            alpha,
                            a,
                            aLayout,
                            b,
                            bLayout,
                            beta,
                            c,
                            cLayout,
                            d,
                            dLayout,
                            algo,
                            workspace,
                            workspaceBytes,
                            stream);
        } catch (Throwable t) {
            throw badBinding("cublasLtMatmul", t);
        }
    }

    private static int created(String name, MethodHandle function, long[] handle) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(LONG);
            int status = (int) function.invokeExact(out);
            handle[0] = out.get(LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding(name, t);
        }
    }

    private static int destroyed(String name, MethodHandle function, long handle) {
        try {
            return (int) function.invokeExact(handle);
        } catch (Throwable t) {
            throw badBinding(name, t);
        }
    }

    private static int set(
            String name, MethodHandle function, long handle, int attribute, MemorySegment value) {
        try {
            return (int) function.invokeExact(handle, attribute, value, value.byteSize());
        } catch (Throwable t) {
            throw badBinding(name, t);
        }
    }

    private static String text(String name, MethodHandle function, int status) {
        try {
            return Downcalls.string((MemorySegment) function.invokeExact(status));
        } catch (Throwable t) {
            throw badBinding(name, t);
        }
    }
}
