package jlora.cu.jcuda;

import jcuda.NativePointerObject;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUfunction;
import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUmodule;
import jcuda.driver.CUstream;

import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaDriver;
import jlora.cu.driver.CudaStream;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * Hands CUDA objects over between JCuda and jlora, both ways, without copying: both name the same
 * handle of the driver. Whoever made an object frees it.
 */
public final class JcudaHandles {
    /** JCuda keeps every handle and address in this field, and has no public way to it. */
    private static final VarHandle NATIVE_POINTER =
            field(NativePointerObject.class, "nativePointer");

    private static final VarHandle BYTE_OFFSET = field(Pointer.class, "byteOffset");

    private JcudaHandles() {}

    private static VarHandle field(Class<?> holder, String name) {
        try {
            return MethodHandles.privateLookupIn(holder, MethodHandles.lookup())
                    .findVarHandle(holder, name, long.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    /** The context that a program made with JCuda, for all of jlora to work in. */
    public static CudaContext adopt(CudaDriver driver, CUcontext context) {
        return CudaContext.adopt(driver, handle(context));
    }

    /** A stream that a program made with JCuda: jlora's work queues up in it. */
    public static CudaStream adopt(CudaDriver driver, String label, CUstream stream) {
        return CudaStream.adopt(driver, label, handle(stream));
    }

    /** The device address of a JCuda pointer, byte offset included. */
    public static long address(CUdeviceptr pointer) {
        return handle(pointer) + (long) BYTE_OFFSET.get((Pointer) pointer);
    }

    /** A device address as JCuda wants it. */
    public static CUdeviceptr pointer(long address) {
        return set(new CUdeviceptr(), address);
    }

    /** jlora's context, for calls of JCuda. */
    public static CUcontext context(CudaContext context) {
        return context(context.handle());
    }

    /** jlora's stream, for calls of JCuda. */
    public static CUstream stream(CudaStream stream) {
        return stream(stream.handle());
    }

    static long handle(NativePointerObject object) {
        return (long) NATIVE_POINTER.get(object);
    }

    private static <T extends NativePointerObject> T set(T object, long handle) {
        NATIVE_POINTER.set((NativePointerObject) object, handle);
        return object;
    }

    static Pointer hostPointer(long address) {
        return set(new Pointer(), address);
    }

    static CUdevice device(int device) {
        return set(new CUdevice(), device);
    }

    static CUcontext context(long handle) {
        return set(new CUcontext(), handle);
    }

    static CUstream stream(long handle) {
        return set(new CUstream(), handle);
    }

    static CUevent event(long handle) {
        return set(new CUevent(), handle);
    }

    static CUmodule module(long handle) {
        return set(new CUmodule(), handle);
    }

    static CUfunction function(long handle) {
        return set(new CUfunction(), handle);
    }

    static CUgraph graph(long handle) {
        return set(new CUgraph(), handle);
    }

    static CUgraphExec executable(long handle) {
        return set(new CUgraphExec(), handle);
    }
}
