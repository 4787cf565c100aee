package jlora.cu.jcuda;

import static jlora.cu.jcuda.JcudaHandles.device;
import static jlora.cu.jcuda.JcudaHandles.handle;
import static jlora.cu.jcuda.JcudaHandles.hostPointer;
import static jlora.cu.jcuda.JcudaHandles.pointer;

import jcuda.driver.CUDA_MEMCPY2D;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUevent;
import jcuda.driver.CUfunction;
import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUgraphNode;
import jcuda.driver.CUmodule;
import jcuda.driver.CUstream;
import jcuda.driver.CUuuid;
import jcuda.driver.JCudaDriver;

import jlora.cu.MissingLibraryException;
import jlora.cu.NativeLibrary;
import jlora.cu.sys.CudaDriverApi;
import jlora.cu.sys.CudaDriverConstants;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;

/**
 * The driver by JCuda 12.6, for programs that already use it. Behaves as {@link
 * jlora.cu.sys.PanamaCudaDriver} does, except that JCuda does not know the sizes of a kernel's
 * parameters, so launches are not checked against them.
 */
public final class JcudaDriver implements CudaDriverApi {
    private JcudaDriver() {}

    /**
     * @param driver the driver's library, opened already: JCuda's own library then binds to that
     *     one
     */
    public static CudaDriverApi open(NativeLibrary driver) {
        Objects.requireNonNull(driver);
        try {
            // Status codes, as everywhere in sys.
            JCudaDriver.setExceptionsEnabled(false);
            return new JcudaDriver();
        } catch (LinkageError e) {
            throw new MissingLibraryException(
                    "JCuda 12.6 could not load its native library libJCudaDriver, which exists for"
                            + " Linux on x86_64 and for Windows and needs "
                            + driver.name()
                            + "; set cuda_binding: panama, which needs no library of its own",
                    e);
        }
    }

    @Override
    public String provider() {
        return "jcuda";
    }

    @Override
    public int cuInit() {
        return JCudaDriver.cuInit(0);
    }

    @Override
    public int cuDriverGetVersion(int[] version) {
        return JCudaDriver.cuDriverGetVersion(version);
    }

    @Override
    public int cuDeviceGetCount(int[] count) {
        return JCudaDriver.cuDeviceGetCount(count);
    }

    @Override
    public int cuDeviceGet(int[] device, int ordinal) {
        CUdevice found = new CUdevice();
        int status = JCudaDriver.cuDeviceGet(found, ordinal);
        device[0] = (int) handle(found);
        return status;
    }

    @Override
    public int cuDeviceGetName(byte[] name, int device) {
        return JCudaDriver.cuDeviceGetName(name, name.length, device(device));
    }

    @Override
    public int cuDeviceGetUuid(byte[] uuid, int device) {
        CUuuid found = new CUuuid();
        found.bytes = uuid;
        return JCudaDriver.cuDeviceGetUuid(found, device(device));
    }

    @Override
    public int cuDeviceGetAttribute(int[] value, int attribute, int device) {
        return JCudaDriver.cuDeviceGetAttribute(value, attribute, device(device));
    }

    @Override
    public int cuDeviceTotalMem(long[] bytes, int device) {
        return JCudaDriver.cuDeviceTotalMem(bytes, device(device));
    }

    @Override
    public int cuDevicePrimaryCtxRetain(long[] context, int device) {
        CUcontext retained = new CUcontext();
        int status = JCudaDriver.cuDevicePrimaryCtxRetain(retained, device(device));
        context[0] = handle(retained);
        return status;
    }

    @Override
    public int cuDevicePrimaryCtxRelease(int device) {
        return JCudaDriver.cuDevicePrimaryCtxRelease(device(device));
    }

    @Override
    public int cuCtxSetCurrent(long context) {
        return JCudaDriver.cuCtxSetCurrent(JcudaHandles.context(context));
    }

    @Override
    public int cuCtxGetCurrent(long[] context) {
        CUcontext current = new CUcontext();
        int status = JCudaDriver.cuCtxGetCurrent(current);
        context[0] = handle(current);
        return status;
    }

    @Override
    public int cuCtxGetDevice(int[] device) {
        CUdevice found = new CUdevice();
        int status = JCudaDriver.cuCtxGetDevice(found);
        device[0] = (int) handle(found);
        return status;
    }

    @Override
    public int cuCtxSynchronize() {
        return JCudaDriver.cuCtxSynchronize();
    }

    @Override
    public int cuMemGetInfo(long[] free, long[] total) {
        return JCudaDriver.cuMemGetInfo(free, total);
    }

    @Override
    public int cuMemAlloc(long[] address, long bytes) {
        var allocated = pointer(0);
        int status = JCudaDriver.cuMemAlloc(allocated, bytes);
        address[0] = handle(allocated);
        return status;
    }

    @Override
    public int cuMemFree(long address) {
        return JCudaDriver.cuMemFree(pointer(address));
    }

    @Override
    public int cuMemHostAlloc(long[] hostAddress, long bytes, int flags) {
        var allocated = hostPointer(0);
        int status = JCudaDriver.cuMemHostAlloc(allocated, bytes, flags);
        hostAddress[0] = handle(allocated);
        return status;
    }

    @Override
    public int cuMemFreeHost(long hostAddress) {
        return JCudaDriver.cuMemFreeHost(hostPointer(hostAddress));
    }

    @Override
    public int cuMemcpyHtoDAsync(long to, long fromHost, long bytes, long stream) {
        return JCudaDriver.cuMemcpyHtoDAsync(
                pointer(to), hostPointer(fromHost), bytes, JcudaHandles.stream(stream));
    }

    @Override
    public int cuMemcpyDtoHAsync(long toHost, long from, long bytes, long stream) {
        return JCudaDriver.cuMemcpyDtoHAsync(
                hostPointer(toHost), pointer(from), bytes, JcudaHandles.stream(stream));
    }

    @Override
    public int cuMemcpyDtoDAsync(long to, long from, long bytes, long stream) {
        return JCudaDriver.cuMemcpyDtoDAsync(
                pointer(to), pointer(from), bytes, JcudaHandles.stream(stream));
    }

    @Override
    public int cuMemcpy2DAsync(Copy2D copy, long stream) {
        CUDA_MEMCPY2D struct = new CUDA_MEMCPY2D();
        struct.srcMemoryType = memoryType(copy.fromHost());
        struct.dstMemoryType = memoryType(copy.toHost());
        if (copy.fromHost()) {
            struct.srcHost = hostPointer(copy.from());
        } else {
            struct.srcDevice = pointer(copy.from());
        }
        if (copy.toHost()) {
            struct.dstHost = hostPointer(copy.to());
        } else {
            struct.dstDevice = pointer(copy.to());
        }
        struct.srcPitch = copy.fromPitch();
        struct.dstPitch = copy.toPitch();
        struct.WidthInBytes = copy.widthInBytes();
        struct.Height = copy.height();
        return JCudaDriver.cuMemcpy2DAsync(struct, JcudaHandles.stream(stream));
    }

    private static int memoryType(boolean host) {
        return host ? CudaDriverConstants.MEMORYTYPE_HOST : CudaDriverConstants.MEMORYTYPE_DEVICE;
    }

    @Override
    public int cuMemsetD8Async(long address, byte value, long count, long stream) {
        return JCudaDriver.cuMemsetD8Async(
                pointer(address), value, count, JcudaHandles.stream(stream));
    }

    @Override
    public int cuStreamCreate(long[] stream, int flags) {
        CUstream created = new CUstream();
        int status = JCudaDriver.cuStreamCreate(created, flags);
        stream[0] = handle(created);
        return status;
    }

    @Override
    public int cuStreamDestroy(long stream) {
        return JCudaDriver.cuStreamDestroy(JcudaHandles.stream(stream));
    }

    @Override
    public int cuStreamSynchronize(long stream) {
        return JCudaDriver.cuStreamSynchronize(JcudaHandles.stream(stream));
    }

    @Override
    public int cuStreamWaitEvent(long stream, long event, int flags) {
        return JCudaDriver.cuStreamWaitEvent(
                JcudaHandles.stream(stream), JcudaHandles.event(event), flags);
    }

    @Override
    public int cuStreamBeginCapture(long stream, int mode) {
        return JCudaDriver.cuStreamBeginCapture(JcudaHandles.stream(stream), mode);
    }

    @Override
    public int cuStreamEndCapture(long stream, long[] graph) {
        CUgraph captured = new CUgraph();
        int status = JCudaDriver.cuStreamEndCapture(JcudaHandles.stream(stream), captured);
        graph[0] = handle(captured);
        return status;
    }

    @Override
    public int cuGraphInstantiate(long[] executable, long graph, long flags) {
        CUgraphExec instantiated = new CUgraphExec();
        int status = JCudaDriver.cuGraphInstantiate(instantiated, JcudaHandles.graph(graph), flags);
        executable[0] = handle(instantiated);
        return status;
    }

    @Override
    public int cuGraphLaunch(long executable, long stream) {
        return JCudaDriver.cuGraphLaunch(
                JcudaHandles.executable(executable), JcudaHandles.stream(stream));
    }

    @Override
    public int cuGraphGetNodes(long graph, long[] count) {
        CUgraphNode[] onlyTheCount = null;
        return JCudaDriver.cuGraphGetNodes(JcudaHandles.graph(graph), onlyTheCount, count);
    }

    @Override
    public int cuGraphExecDestroy(long executable) {
        return JCudaDriver.cuGraphExecDestroy(JcudaHandles.executable(executable));
    }

    @Override
    public int cuGraphDestroy(long graph) {
        return JCudaDriver.cuGraphDestroy(JcudaHandles.graph(graph));
    }

    @Override
    public int cuEventCreate(long[] event, int flags) {
        CUevent created = new CUevent();
        int status = JCudaDriver.cuEventCreate(created, flags);
        event[0] = handle(created);
        return status;
    }

    @Override
    public int cuEventDestroy(long event) {
        return JCudaDriver.cuEventDestroy(JcudaHandles.event(event));
    }

    @Override
    public int cuEventRecord(long event, long stream) {
        return JCudaDriver.cuEventRecord(JcudaHandles.event(event), JcudaHandles.stream(stream));
    }

    @Override
    public int cuEventQuery(long event) {
        return JCudaDriver.cuEventQuery(JcudaHandles.event(event));
    }

    @Override
    public int cuEventSynchronize(long event) {
        return JCudaDriver.cuEventSynchronize(JcudaHandles.event(event));
    }

    @Override
    public int cuEventElapsedTime(float[] milliseconds, long start, long end) {
        return JCudaDriver.cuEventElapsedTime(
                milliseconds, JcudaHandles.event(start), JcudaHandles.event(end));
    }

    @Override
    public int cuModuleLoadData(long[] module, MemorySegment image) {
        CUmodule loaded = new CUmodule();
        int status = JCudaDriver.cuModuleLoadData(loaded, image.toArray(ValueLayout.JAVA_BYTE));
        module[0] = handle(loaded);
        return status;
    }

    @Override
    public int cuModuleUnload(long module) {
        return JCudaDriver.cuModuleUnload(JcudaHandles.module(module));
    }

    @Override
    public int cuModuleGetFunction(long[] function, long module, String name) {
        CUfunction found = new CUfunction();
        int status = JCudaDriver.cuModuleGetFunction(found, JcudaHandles.module(module), name);
        function[0] = handle(found);
        return status;
    }

    @Override
    public int cuFuncGetAttribute(int[] value, int attribute, long function) {
        return JCudaDriver.cuFuncGetAttribute(value, attribute, JcudaHandles.function(function));
    }

    @Override
    public int cuFuncSetAttribute(long function, int attribute, int value) {
        return JCudaDriver.cuFuncSetAttribute(JcudaHandles.function(function), attribute, value);
    }

    /** JCuda 12.6 has no such call. */
    @Override
    public int cuFuncGetParamInfo(long function, long index, long[] offset, long[] bytes) {
        return CudaDriverConstants.NOT_FOUND;
    }

    @Override
    public int cuOccupancyMaxActiveBlocksPerMultiprocessor(
            int[] blocks, long function, int blockThreads, long dynamicSharedBytes) {
        return JCudaDriver.cuOccupancyMaxActiveBlocksPerMultiprocessor(
                blocks, JcudaHandles.function(function), blockThreads, dynamicSharedBytes);
    }

    @Override
    public int cuLaunchKernel(
            long function,
            int gridX,
            int gridY,
            int gridZ,
            int blockX,
            int blockY,
            int blockZ,
            int dynamicSharedBytes,
            long stream,
            MemorySegment parameters) {
        return JCudaDriver.cuLaunchKernel(
                JcudaHandles.function(function),
                gridX,
                gridY,
                gridZ,
                blockX,
                blockY,
                blockZ,
                dynamicSharedBytes,
                JcudaHandles.stream(stream),
                hostPointer(parameters.address()),
                null);
    }

    @Override
    public String errorName(int code) {
        String[] name = new String[1];
        return JCudaDriver.cuGetErrorName(code, name) == 0 ? name[0] : "code " + code;
    }

    @Override
    public String errorString(int code) {
        String[] text = new String[1];
        return JCudaDriver.cuGetErrorString(code, text) == 0 ? text[0] : "code " + code;
    }
}
