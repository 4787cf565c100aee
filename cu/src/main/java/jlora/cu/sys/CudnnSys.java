package jlora.cu.sys;

import static jlora.cu.sys.Downcalls.INT;
import static jlora.cu.sys.Downcalls.LONG;
import static jlora.cu.sys.Downcalls.POINTER;
import static jlora.cu.sys.Downcalls.badBinding;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * cuDNN 9's backend API by Panama: ABI names, raw status codes. Handles, descriptors and device
 * addresses are numbers.
 */
public final class CudnnSys {
    private static final int LONGEST_MESSAGE = 2048;

    private final MethodHandle getVersion;
    private final MethodHandle getErrorString;
    private final MethodHandle getLastErrorString;
    private final MethodHandle create;
    private final MethodHandle destroy;
    private final MethodHandle setStream;
    private final MethodHandle createDescriptor;
    private final MethodHandle destroyDescriptor;
    private final MethodHandle setAttribute;
    private final MethodHandle getAttribute;
    private final MethodHandle finish;
    private final MethodHandle execute;

    /**
     * @throws MissingSymbolException when the library lacks a function
     */
    public CudnnSys(SymbolLookup symbols) {
        Downcalls library = new Downcalls("libcudnn", symbols, "cuDNN 9");
        getVersion = library.function("cudnnGetVersion", FunctionDescriptor.of(LONG));
        getErrorString =
                library.function("cudnnGetErrorString", FunctionDescriptor.of(POINTER, INT));
        getLastErrorString =
                library.function(
                        "cudnnGetLastErrorString", FunctionDescriptor.ofVoid(POINTER, LONG));
        create = library.status("cudnnCreate", POINTER);
        destroy = library.status("cudnnDestroy", LONG);
        setStream = library.status("cudnnSetStream", LONG, LONG);
        createDescriptor = library.status("cudnnBackendCreateDescriptor", INT, POINTER);
        destroyDescriptor = library.status("cudnnBackendDestroyDescriptor", LONG);
        setAttribute = library.status("cudnnBackendSetAttribute", LONG, INT, INT, LONG, POINTER);
        getAttribute =
                library.status("cudnnBackendGetAttribute", LONG, INT, INT, LONG, POINTER, POINTER);
        finish = library.status("cudnnBackendFinalize", LONG);
        execute = library.status("cudnnBackendExecute", LONG, LONG, LONG);
    }

    /** 10000 · major + 100 · minor + patch. */
    public long cudnnGetVersion() {
        try {
            return (long) getVersion.invokeExact();
        } catch (Throwable t) {
            throw badBinding("cudnnGetVersion", t);
        }
    }

    public String cudnnGetErrorString(int status) {
        try {
            return Downcalls.string((MemorySegment) getErrorString.invokeExact(status));
        } catch (Throwable t) {
            throw badBinding("cudnnGetErrorString", t);
        }
    }

    /** What the last failed call of this thread found wrong. */
    public String cudnnGetLastErrorString() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment message = arena.allocate(LONGEST_MESSAGE);
            getLastErrorString.invokeExact(message, message.byteSize());
            return message.getString(0);
        } catch (Throwable t) {
            throw badBinding("cudnnGetLastErrorString", t);
        }
    }

    public int cudnnCreate(long[] handle) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(LONG);
            int status = (int) create.invokeExact(out);
            handle[0] = out.get(LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cudnnCreate", t);
        }
    }

    public int cudnnDestroy(long handle) {
        try {
            return (int) destroy.invokeExact(handle);
        } catch (Throwable t) {
            throw badBinding("cudnnDestroy", t);
        }
    }

    public int cudnnSetStream(long handle, long stream) {
        try {
            return (int) setStream.invokeExact(handle, stream);
        } catch (Throwable t) {
            throw badBinding("cudnnSetStream", t);
        }
    }

    public int cudnnBackendCreateDescriptor(int type, long[] descriptor) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(LONG);
            int status = (int) createDescriptor.invokeExact(type, out);
            descriptor[0] = out.get(LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cudnnBackendCreateDescriptor", t);
        }
    }

    public int cudnnBackendDestroyDescriptor(long descriptor) {
        try {
            return (int) destroyDescriptor.invokeExact(descriptor);
        } catch (Throwable t) {
            throw badBinding("cudnnBackendDestroyDescriptor", t);
        }
    }

    public int cudnnBackendSetAttribute(
            long descriptor, int name, int type, long count, MemorySegment elements) {
        try {
            return (int) setAttribute.invokeExact(descriptor, name, type, count, elements);
        } catch (Throwable t) {
            throw badBinding("cudnnBackendSetAttribute", t);
        }
    }

    /** {@code count[0]} becomes the number of elements there are, or were written. */
    public int cudnnBackendGetAttribute(
            long descriptor,
            int name,
            int type,
            long requested,
            long[] count,
            MemorySegment elements) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ValueLayout.JAVA_LONG);
            int status =
                    (int)
                            getAttribute.invokeExact(
                                    descriptor, name, type, requested, out, elements);
            count[0] = out.get(LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cudnnBackendGetAttribute", t);
        }
    }

    public int cudnnBackendFinalize(long descriptor) {
        try {
            return (int) finish.invokeExact(descriptor);
        } catch (Throwable t) {
            throw badBinding("cudnnBackendFinalize", t);
        }
    }

    public int cudnnBackendExecute(long handle, long plan, long variantPack) {
        try {
            return (int) execute.invokeExact(handle, plan, variantPack);
        } catch (Throwable t) {
            throw badBinding("cudnnBackendExecute", t);
        }
    }
}
