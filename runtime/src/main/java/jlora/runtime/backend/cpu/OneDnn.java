package jlora.runtime.backend.cpu;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * The calls of oneDNN 3 that jlora uses, under their C names, and {@code omp_set_num_threads}.
 * {@link #check} turns status codes into exceptions; nothing above sees a code. {@link
 * OneDnnLibrary#open} must have succeeded before.
 */
@SuppressWarnings("restricted")
final class OneDnn {
    // dnnl_types.h and dnnl_common_types.h
    static final int CPU = 1;
    static final int IN_ORDER = 1;
    static final int UNIMPLEMENTED = 3;
    static final int BF16 = 2;
    static final int F32 = 3;
    static final int SCRATCHPAD_USER = 1;
    static final int QUERY_IMPL_INFO = 8;
    static final int QUERY_SCRATCHPAD_MD = 136;
    static final int ELTWISE_LINEAR = 0x26;
    // The bits of dnnl_cpu_isa_t that these two add to the sets before them.
    private static final int ISA_AVX512_BF16 = 0x80;
    private static final int ISA_AVX2_VNNI_2 = 0x10;
    static final int ARG_SRC = 1;
    static final int ARG_DST = 17;
    static final int ARG_WEIGHTS = 33;
    static final int ARG_BIAS = 41;
    static final int ARG_SCRATCHPAD = 80;

    private static final Linker LINKER = Linker.nativeLinker();
    private static final SymbolLookup LIBRARY = OneDnnLibrary.open().oneDnn();
    private static final ValueLayout.OfLong DIM = JAVA_LONG;

    static final MethodHandle VERSION = handle("dnnl_version", FunctionDescriptor.of(ADDRESS));
    static final MethodHandle EFFECTIVE_ISA = status("dnnl_get_effective_cpu_isa");
    static final MethodHandle ENGINE_CREATE =
            status("dnnl_engine_create", ADDRESS, JAVA_INT, JAVA_LONG);
    static final MethodHandle ENGINE_DESTROY = status("dnnl_engine_destroy", ADDRESS);
    static final MethodHandle STREAM_CREATE =
            status("dnnl_stream_create", ADDRESS, ADDRESS, JAVA_INT);
    static final MethodHandle STREAM_DESTROY = status("dnnl_stream_destroy", ADDRESS);
    static final MethodHandle MEMORY_DESC_CREATE =
            status(
                    "dnnl_memory_desc_create_with_strides",
                    ADDRESS,
                    JAVA_INT,
                    ADDRESS,
                    JAVA_INT,
                    ADDRESS);
    static final MethodHandle MEMORY_DESC_DESTROY = status("dnnl_memory_desc_destroy", ADDRESS);
    static final MethodHandle MEMORY_DESC_SIZE =
            handle("dnnl_memory_desc_get_size", FunctionDescriptor.of(JAVA_LONG, ADDRESS));
    static final MethodHandle ATTR_CREATE = status("dnnl_primitive_attr_create", ADDRESS);
    static final MethodHandle ATTR_DESTROY = status("dnnl_primitive_attr_destroy", ADDRESS);
    static final MethodHandle ATTR_SCRATCHPAD =
            status("dnnl_primitive_attr_set_scratchpad_mode", ADDRESS, JAVA_INT);
    static final MethodHandle ATTR_POST_OPS =
            status("dnnl_primitive_attr_set_post_ops", ADDRESS, ADDRESS);
    static final MethodHandle POST_OPS_CREATE = status("dnnl_post_ops_create", ADDRESS);
    static final MethodHandle POST_OPS_DESTROY = status("dnnl_post_ops_destroy", ADDRESS);
    static final MethodHandle POST_OPS_SUM =
            status("dnnl_post_ops_append_sum", ADDRESS, JAVA_FLOAT, JAVA_INT, JAVA_INT);
    static final MethodHandle POST_OPS_ELTWISE =
            status("dnnl_post_ops_append_eltwise", ADDRESS, JAVA_INT, JAVA_FLOAT, JAVA_FLOAT);
    static final MethodHandle MATMUL_DESC_CREATE =
            status(
                    "dnnl_matmul_primitive_desc_create",
                    ADDRESS,
                    ADDRESS,
                    ADDRESS,
                    ADDRESS,
                    ADDRESS,
                    ADDRESS,
                    ADDRESS);
    static final MethodHandle PRIMITIVE_DESC_DESTROY =
            status("dnnl_primitive_desc_destroy", ADDRESS);
    static final MethodHandle PRIMITIVE_DESC_QUERY =
            status("dnnl_primitive_desc_query", ADDRESS, JAVA_INT, JAVA_INT, ADDRESS);
    static final MethodHandle PRIMITIVE_DESC_QUERY_MD =
            handle(
                    "dnnl_primitive_desc_query_md",
                    FunctionDescriptor.of(ADDRESS, ADDRESS, JAVA_INT, JAVA_INT));
    static final MethodHandle PRIMITIVE_CREATE = status("dnnl_primitive_create", ADDRESS, ADDRESS);
    static final MethodHandle PRIMITIVE_DESTROY = status("dnnl_primitive_destroy", ADDRESS);
    static final MethodHandle PRIMITIVE_EXECUTE =
            status("dnnl_primitive_execute", ADDRESS, ADDRESS, JAVA_INT, ADDRESS);
    static final MethodHandle MEMORY_CREATE =
            status("dnnl_memory_create", ADDRESS, ADDRESS, ADDRESS, ADDRESS);
    static final MethodHandle MEMORY_SET_HANDLE =
            status("dnnl_memory_set_data_handle", ADDRESS, ADDRESS);
    static final MethodHandle MEMORY_DESTROY = status("dnnl_memory_destroy", ADDRESS);
    static final MethodHandle SGEMM =
            status(
                    "dnnl_sgemm",
                    JAVA_BYTE,
                    JAVA_BYTE,
                    DIM,
                    DIM,
                    DIM,
                    JAVA_FLOAT,
                    ADDRESS,
                    DIM,
                    ADDRESS,
                    DIM,
                    JAVA_FLOAT,
                    ADDRESS,
                    DIM);

    private static final MethodHandle OMP_SET_NUM_THREADS =
            LINKER.downcallHandle(
                    OneDnnLibrary.open().openMp().findOrThrow("omp_set_num_threads"),
                    FunctionDescriptor.ofVoid(JAVA_INT),
                    Linker.Option.critical(false));

    private OneDnn() {}

    /** A call that returns a status or another int. */
    @FunctionalInterface
    interface Call {
        int run() throws Throwable;
    }

    /** A call that returns an address. */
    @FunctionalInterface
    interface AddressCall {
        MemorySegment run() throws Throwable;
    }

    /**
     * The calling thread's products run on it alone: OpenMP keeps this setting per thread, and
     * starts no workers.
     */
    static void oneThread() {
        try {
            OMP_SET_NUM_THREADS.invokeExact(1);
        } catch (Throwable t) {
            throw new AssertionError("omp_set_num_threads: bad binding", t);
        }
    }

    /** Bytes of a memory descriptor. */
    static long size(MemorySegment descriptor) {
        try {
            return (long) MEMORY_DESC_SIZE.invokeExact(descriptor);
        } catch (Throwable t) {
            throw new AssertionError("dnnl_memory_desc_get_size: bad binding", t);
        }
    }

    /** A C string of oneDNN's. */
    static String string(MemorySegment at) {
        return at.reinterpret(256).getString(0);
    }

    /** Such as 3.13. */
    static String version() {
        MemorySegment at =
                address("dnnl_version", () -> (MemorySegment) VERSION.invokeExact()).reinterpret(8);
        return at.get(JAVA_INT, 0) + "." + at.get(JAVA_INT, 4);
    }

    /** False on x86 without bf16 instructions; other processors have no such mask. */
    static boolean mayHaveBf16() {
        int isa = status("dnnl_get_effective_cpu_isa", () -> (int) EFFECTIVE_ISA.invokeExact());
        return isa == 0 || (isa & ISA_AVX512_BF16) != 0 || (isa & ISA_AVX2_VNNI_2) != 0;
    }

    static int status(String name, Call call) {
        try {
            return call.run();
        } catch (Throwable t) {
            throw new AssertionError(name + ": bad binding", t);
        }
    }

    static MemorySegment address(String name, AddressCall call) {
        try {
            return call.run();
        } catch (Throwable t) {
            throw new AssertionError(name + ": bad binding", t);
        }
    }

    /** Runs a call and throws on any status but success. */
    static void check(String name, Object what, Call call) {
        check(name, what, status(name, call));
    }

    static void check(String name, Object what, int status) {
        if (status != 0) {
            throw new OneDnnException(name, what, status);
        }
    }

    private static MethodHandle status(String name, ValueLayout... arguments) {
        return handle(name, FunctionDescriptor.of(JAVA_INT, arguments));
    }

    private static MethodHandle handle(String name, FunctionDescriptor descriptor) {
        return LINKER.downcallHandle(LIBRARY.findOrThrow(name), descriptor);
    }
}
