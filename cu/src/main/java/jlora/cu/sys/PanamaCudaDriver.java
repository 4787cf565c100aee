package jlora.cu.sys;

import static jlora.cu.sys.Downcalls.BYTE;
import static jlora.cu.sys.Downcalls.INT;
import static jlora.cu.sys.Downcalls.LONG;
import static jlora.cu.sys.Downcalls.POINTER;
import static jlora.cu.sys.Downcalls.badBinding;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/**
 * The driver by Panama: exact ABI names ({@code _v2} where the header maps to it), one line each.
 */
public final class PanamaCudaDriver implements CudaDriverApi {
    private final MethodHandle init;
    private final MethodHandle driverGetVersion;
    private final MethodHandle deviceGetCount;
    private final MethodHandle deviceGet;
    private final MethodHandle deviceGetName;
    private final MethodHandle deviceGetUuid;
    private final MethodHandle deviceGetAttribute;
    private final MethodHandle deviceTotalMem;
    private final MethodHandle devicePrimaryCtxRetain;
    private final MethodHandle devicePrimaryCtxRelease;
    private final MethodHandle ctxSetCurrent;
    private final MethodHandle ctxGetCurrent;
    private final MethodHandle ctxGetDevice;
    private final MethodHandle ctxSynchronize;
    private final MethodHandle memGetInfo;
    private final MethodHandle memAlloc;
    private final MethodHandle memFree;
    private final MethodHandle memHostAlloc;
    private final MethodHandle memFreeHost;
    private final MethodHandle memcpyHtoDAsync;
    private final MethodHandle memcpyDtoHAsync;
    private final MethodHandle memcpyDtoDAsync;
    private final MethodHandle memcpy2DAsync;
    private final MethodHandle memsetD8Async;
    private final MethodHandle streamCreate;
    private final MethodHandle streamDestroy;
    private final MethodHandle streamSynchronize;
    private final MethodHandle streamWaitEvent;
    private final MethodHandle streamBeginCapture;
    private final MethodHandle streamEndCapture;
    private final MethodHandle graphInstantiate;
    private final MethodHandle graphLaunch;
    private final MethodHandle graphGetNodes;
    private final MethodHandle graphExecDestroy;
    private final MethodHandle graphDestroy;
    private final MethodHandle eventCreate;
    private final MethodHandle eventDestroy;
    private final MethodHandle eventRecord;
    private final MethodHandle eventQuery;
    private final MethodHandle eventSynchronize;
    private final MethodHandle eventElapsedTime;
    private final MethodHandle moduleLoadData;
    private final MethodHandle moduleUnload;
    private final MethodHandle moduleGetFunction;
    private final MethodHandle funcGetAttribute;
    private final MethodHandle funcSetAttribute;
    private final Optional<MethodHandle> funcGetParamInfo;
    private final MethodHandle occupancyMaxActiveBlocksPerMultiprocessor;
    private final MethodHandle launchKernel;
    private final MethodHandle getErrorName;
    private final MethodHandle getErrorString;

    /**
     * @throws MissingSymbolException when the library lacks a function
     */
    public PanamaCudaDriver(SymbolLookup symbols) {
        Downcalls library = new Downcalls("libcuda", symbols);
        init = library.status("cuInit", INT);
        driverGetVersion = library.status("cuDriverGetVersion", POINTER);
        deviceGetCount = library.status("cuDeviceGetCount", POINTER);
        deviceGet = library.status("cuDeviceGet", POINTER, INT);
        deviceGetName = library.status("cuDeviceGetName", POINTER, INT, INT);
        deviceGetUuid = library.status("cuDeviceGetUuid_v2", POINTER, INT);
        deviceGetAttribute = library.status("cuDeviceGetAttribute", POINTER, INT, INT);
        deviceTotalMem = library.status("cuDeviceTotalMem_v2", POINTER, INT);
        devicePrimaryCtxRetain = library.status("cuDevicePrimaryCtxRetain", POINTER, INT);
        devicePrimaryCtxRelease = library.status("cuDevicePrimaryCtxRelease_v2", INT);
        ctxSetCurrent = library.status("cuCtxSetCurrent", LONG);
        ctxGetCurrent = library.status("cuCtxGetCurrent", POINTER);
        ctxGetDevice = library.status("cuCtxGetDevice", POINTER);
        ctxSynchronize = library.status("cuCtxSynchronize");
        memGetInfo = library.status("cuMemGetInfo_v2", POINTER, POINTER);
        memAlloc = library.status("cuMemAlloc_v2", POINTER, LONG);
        memFree = library.status("cuMemFree_v2", LONG);
        memHostAlloc = library.status("cuMemHostAlloc", POINTER, LONG, INT);
        memFreeHost = library.status("cuMemFreeHost", LONG);
        memcpyHtoDAsync = library.status("cuMemcpyHtoDAsync_v2", LONG, LONG, LONG, LONG);
        memcpyDtoHAsync = library.status("cuMemcpyDtoHAsync_v2", LONG, LONG, LONG, LONG);
        memcpyDtoDAsync = library.status("cuMemcpyDtoDAsync_v2", LONG, LONG, LONG, LONG);
        memcpy2DAsync = library.status("cuMemcpy2DAsync_v2", POINTER, LONG);
        memsetD8Async = library.status("cuMemsetD8Async", LONG, BYTE, LONG, LONG);
        streamCreate = library.status("cuStreamCreate", POINTER, INT);
        streamDestroy = library.status("cuStreamDestroy_v2", LONG);
        streamSynchronize = library.status("cuStreamSynchronize", LONG);
        streamWaitEvent = library.status("cuStreamWaitEvent", LONG, LONG, INT);
        streamBeginCapture = library.status("cuStreamBeginCapture_v2", LONG, INT);
        streamEndCapture = library.status("cuStreamEndCapture", LONG, POINTER);
        graphInstantiate = library.status("cuGraphInstantiateWithFlags", POINTER, LONG, LONG);
        graphLaunch = library.status("cuGraphLaunch", LONG, LONG);
        graphGetNodes = library.status("cuGraphGetNodes", LONG, POINTER, POINTER);
        graphExecDestroy = library.status("cuGraphExecDestroy", LONG);
        graphDestroy = library.status("cuGraphDestroy", LONG);
        eventCreate = library.status("cuEventCreate", POINTER, INT);
        eventDestroy = library.status("cuEventDestroy_v2", LONG);
        eventRecord = library.status("cuEventRecord", LONG, LONG);
        eventQuery = library.status("cuEventQuery", LONG);
        eventSynchronize = library.status("cuEventSynchronize", LONG);
        eventElapsedTime = library.status("cuEventElapsedTime", POINTER, LONG, LONG);
        moduleLoadData = library.status("cuModuleLoadData", POINTER, POINTER);
        moduleUnload = library.status("cuModuleUnload", LONG);
        moduleGetFunction = library.status("cuModuleGetFunction", POINTER, LONG, POINTER);
        funcGetAttribute = library.status("cuFuncGetAttribute", POINTER, INT, LONG);
        funcSetAttribute = library.status("cuFuncSetAttribute", LONG, INT, INT);
        funcGetParamInfo = library.optional("cuFuncGetParamInfo", LONG, LONG, POINTER, POINTER);
        occupancyMaxActiveBlocksPerMultiprocessor =
                library.status(
                        "cuOccupancyMaxActiveBlocksPerMultiprocessor", POINTER, LONG, INT, LONG);
        launchKernel =
                library.status(
                        "cuLaunchKernel",
                        LONG,
                        INT,
                        INT,
                        INT,
                        INT,
                        INT,
                        INT,
                        INT,
                        LONG,
                        POINTER,
                        POINTER);
        getErrorName = library.status("cuGetErrorName", INT, POINTER);
        getErrorString = library.status("cuGetErrorString", INT, POINTER);
    }

    @Override
    public String provider() {
        return "panama";
    }

    @Override
    public int cuInit() {
        try {
            return (int) init.invokeExact(0);
        } catch (Throwable t) {
            throw badBinding("cuInit", t);
        }
    }

    @Override
    public int cuDriverGetVersion(int[] version) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outVersion = arena.allocate(ValueLayout.JAVA_INT);
            int status = (int) driverGetVersion.invokeExact(outVersion);
            version[0] = outVersion.get(ValueLayout.JAVA_INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuDriverGetVersion", t);
        }
    }

    @Override
    public int cuDeviceGetCount(int[] count) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outCount = arena.allocate(ValueLayout.JAVA_INT);
            int status = (int) deviceGetCount.invokeExact(outCount);
            count[0] = outCount.get(ValueLayout.JAVA_INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuDeviceGetCount", t);
        }
    }

    @Override
    public int cuDeviceGet(int[] device, int ordinal) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outDevice = arena.allocate(ValueLayout.JAVA_INT);
            int status = (int) deviceGet.invokeExact(outDevice, ordinal);
            device[0] = outDevice.get(ValueLayout.JAVA_INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuDeviceGet", t);
        }
    }

    @Override
    public int cuDeviceGetName(byte[] name, int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outName = arena.allocate(name.length);
            int status = (int) deviceGetName.invokeExact(outName, name.length, device);
            MemorySegment.copy(outName, ValueLayout.JAVA_BYTE, 0, name, 0, name.length);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuDeviceGetName", t);
        }
    }

    @Override
    public int cuDeviceGetUuid(byte[] uuid, int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outUuid = arena.allocate(uuid.length);
            int status = (int) deviceGetUuid.invokeExact(outUuid, device);
            MemorySegment.copy(outUuid, ValueLayout.JAVA_BYTE, 0, uuid, 0, uuid.length);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuDeviceGetUuid_v2", t);
        }
    }

    @Override
    public int cuDeviceGetAttribute(int[] value, int attribute, int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outValue = arena.allocate(ValueLayout.JAVA_INT);
            int status = (int) deviceGetAttribute.invokeExact(outValue, attribute, device);
            value[0] = outValue.get(ValueLayout.JAVA_INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuDeviceGetAttribute", t);
        }
    }

    @Override
    public int cuDeviceTotalMem(long[] bytes, int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outBytes = arena.allocate(ValueLayout.JAVA_LONG);
            int status = (int) deviceTotalMem.invokeExact(outBytes, device);
            bytes[0] = outBytes.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuDeviceTotalMem_v2", t);
        }
    }

    @Override
    public int cuDevicePrimaryCtxRetain(long[] context, int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outContext = arena.allocate(ValueLayout.JAVA_LONG);
            int status = (int) devicePrimaryCtxRetain.invokeExact(outContext, device);
            context[0] = outContext.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuDevicePrimaryCtxRetain", t);
        }
    }

    @Override
    public int cuDevicePrimaryCtxRelease(int device) {
        try {
            return (int) devicePrimaryCtxRelease.invokeExact(device);
        } catch (Throwable t) {
            throw badBinding("cuDevicePrimaryCtxRelease_v2", t);
        }
    }

    @Override
    public int cuCtxSetCurrent(long context) {
        try {
            return (int) ctxSetCurrent.invokeExact(context);
        } catch (Throwable t) {
            throw badBinding("cuCtxSetCurrent", t);
        }
    }

    @Override
    public int cuCtxGetCurrent(long[] context) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outContext = arena.allocate(ValueLayout.JAVA_LONG);
            int status = (int) ctxGetCurrent.invokeExact(outContext);
            context[0] = outContext.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuCtxGetCurrent", t);
        }
    }

    @Override
    public int cuCtxGetDevice(int[] device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outDevice = arena.allocate(ValueLayout.JAVA_INT);
            int status = (int) ctxGetDevice.invokeExact(outDevice);
            device[0] = outDevice.get(ValueLayout.JAVA_INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuCtxGetDevice", t);
        }
    }

    @Override
    public int cuCtxSynchronize() {
        try {
            return (int) ctxSynchronize.invokeExact();
        } catch (Throwable t) {
            throw badBinding("cuCtxSynchronize", t);
        }
    }

    @Override
    public int cuMemGetInfo(long[] free, long[] total) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outFree = arena.allocate(ValueLayout.JAVA_LONG);
            MemorySegment outTotal = arena.allocate(ValueLayout.JAVA_LONG);
            int status = (int) memGetInfo.invokeExact(outFree, outTotal);
            free[0] = outFree.get(ValueLayout.JAVA_LONG, 0);
            total[0] = outTotal.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuMemGetInfo_v2", t);
        }
    }

    @Override
    public int cuMemAlloc(long[] address, long bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outAddress = arena.allocate(ValueLayout.JAVA_LONG);
            int status = (int) memAlloc.invokeExact(outAddress, bytes);
            address[0] = outAddress.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuMemAlloc_v2", t);
        }
    }

    @Override
    public int cuMemFree(long address) {
        try {
            return (int) memFree.invokeExact(address);
        } catch (Throwable t) {
            throw badBinding("cuMemFree_v2", t);
        }
    }

    @Override
    public int cuMemHostAlloc(long[] hostAddress, long bytes, int flags) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outHostAddress = arena.allocate(ValueLayout.JAVA_LONG);
            int status = (int) memHostAlloc.invokeExact(outHostAddress, bytes, flags);
            hostAddress[0] = outHostAddress.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuMemHostAlloc", t);
        }
    }

    @Override
    public int cuMemFreeHost(long hostAddress) {
        try {
            return (int) memFreeHost.invokeExact(hostAddress);
        } catch (Throwable t) {
            throw badBinding("cuMemFreeHost", t);
        }
    }

    @Override
    public int cuMemcpyHtoDAsync(long to, long fromHost, long bytes, long stream) {
        try {
            return (int) memcpyHtoDAsync.invokeExact(to, fromHost, bytes, stream);
        } catch (Throwable t) {
            throw badBinding("cuMemcpyHtoDAsync_v2", t);
        }
    }

    @Override
    public int cuMemcpyDtoHAsync(long toHost, long from, long bytes, long stream) {
        try {
            return (int) memcpyDtoHAsync.invokeExact(toHost, from, bytes, stream);
        } catch (Throwable t) {
            throw badBinding("cuMemcpyDtoHAsync_v2", t);
        }
    }

    @Override
    public int cuMemcpyDtoDAsync(long to, long from, long bytes, long stream) {
        try {
            return (int) memcpyDtoDAsync.invokeExact(to, from, bytes, stream);
        } catch (Throwable t) {
            throw badBinding("cuMemcpyDtoDAsync_v2", t);
        }
    }

    @Override
    public int cuMemcpy2DAsync(Copy2D copy, long stream) {
        try (Arena arena = Arena.ofConfined()) {
            return (int) memcpy2DAsync.invokeExact(CudaMemcpy2D.of(arena, copy), stream);
        } catch (Throwable t) {
            throw badBinding("cuMemcpy2DAsync_v2", t);
        }
    }

    @Override
    public int cuMemsetD8Async(long address, byte value, long count, long stream) {
        try {
            return (int) memsetD8Async.invokeExact(address, value, count, stream);
        } catch (Throwable t) {
            throw badBinding("cuMemsetD8Async", t);
        }
    }

    @Override
    public int cuStreamCreate(long[] stream, int flags) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outStream = arena.allocate(ValueLayout.JAVA_LONG);
            int status = (int) streamCreate.invokeExact(outStream, flags);
            stream[0] = outStream.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuStreamCreate", t);
        }
    }

    @Override
    public int cuStreamDestroy(long stream) {
        try {
            return (int) streamDestroy.invokeExact(stream);
        } catch (Throwable t) {
            throw badBinding("cuStreamDestroy_v2", t);
        }
    }

    @Override
    public int cuStreamSynchronize(long stream) {
        try {
            return (int) streamSynchronize.invokeExact(stream);
        } catch (Throwable t) {
            throw badBinding("cuStreamSynchronize", t);
        }
    }

    @Override
    public int cuStreamWaitEvent(long stream, long event, int flags) {
        try {
            return (int) streamWaitEvent.invokeExact(stream, event, flags);
        } catch (Throwable t) {
            throw badBinding("cuStreamWaitEvent", t);
        }
    }

    @Override
    public int cuStreamBeginCapture(long stream, int mode) {
        try {
            return (int) streamBeginCapture.invokeExact(stream, mode);
        } catch (Throwable t) {
            throw badBinding("cuStreamBeginCapture_v2", t);
        }
    }

    @Override
    public int cuStreamEndCapture(long stream, long[] graph) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outGraph = arena.allocate(ValueLayout.JAVA_LONG);
            int status = (int) streamEndCapture.invokeExact(stream, outGraph);
            graph[0] = outGraph.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuStreamEndCapture", t);
        }
    }

    @Override
    public int cuGraphInstantiate(long[] executable, long graph, long flags) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outExecutable = arena.allocate(ValueLayout.JAVA_LONG);
            int status = (int) graphInstantiate.invokeExact(outExecutable, graph, flags);
            executable[0] = outExecutable.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuGraphInstantiateWithFlags", t);
        }
    }

    @Override
    public int cuGraphLaunch(long executable, long stream) {
        try {
            return (int) graphLaunch.invokeExact(executable, stream);
        } catch (Throwable t) {
            throw badBinding("cuGraphLaunch", t);
        }
    }

    @Override
    public int cuGraphGetNodes(long graph, long[] count) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outCount = arena.allocate(ValueLayout.JAVA_LONG);
            int status = (int) graphGetNodes.invokeExact(graph, MemorySegment.NULL, outCount);
            count[0] = outCount.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuGraphGetNodes", t);
        }
    }

    @Override
    public int cuGraphExecDestroy(long executable) {
        try {
            return (int) graphExecDestroy.invokeExact(executable);
        } catch (Throwable t) {
            throw badBinding("cuGraphExecDestroy", t);
        }
    }

    @Override
    public int cuGraphDestroy(long graph) {
        try {
            return (int) graphDestroy.invokeExact(graph);
        } catch (Throwable t) {
            throw badBinding("cuGraphDestroy", t);
        }
    }

    @Override
    public int cuEventCreate(long[] event, int flags) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outEvent = arena.allocate(ValueLayout.JAVA_LONG);
            int status = (int) eventCreate.invokeExact(outEvent, flags);
            event[0] = outEvent.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuEventCreate", t);
        }
    }

    @Override
    public int cuEventDestroy(long event) {
        try {
            return (int) eventDestroy.invokeExact(event);
        } catch (Throwable t) {
            throw badBinding("cuEventDestroy_v2", t);
        }
    }

    @Override
    public int cuEventRecord(long event, long stream) {
        try {
            return (int) eventRecord.invokeExact(event, stream);
        } catch (Throwable t) {
            throw badBinding("cuEventRecord", t);
        }
    }

    @Override
    public int cuEventQuery(long event) {
        try {
            return (int) eventQuery.invokeExact(event);
        } catch (Throwable t) {
            throw badBinding("cuEventQuery", t);
        }
    }

    @Override
    public int cuEventSynchronize(long event) {
        try {
            return (int) eventSynchronize.invokeExact(event);
        } catch (Throwable t) {
            throw badBinding("cuEventSynchronize", t);
        }
    }

    @Override
    public int cuEventElapsedTime(float[] milliseconds, long start, long end) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outMilliseconds = arena.allocate(ValueLayout.JAVA_FLOAT);
            int status = (int) eventElapsedTime.invokeExact(outMilliseconds, start, end);
            milliseconds[0] = outMilliseconds.get(ValueLayout.JAVA_FLOAT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuEventElapsedTime", t);
        }
    }

    @Override
    public int cuModuleLoadData(long[] module, MemorySegment image) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outModule = arena.allocate(ValueLayout.JAVA_LONG);
            int status = (int) moduleLoadData.invokeExact(outModule, image);
            module[0] = outModule.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuModuleLoadData", t);
        }
    }

    @Override
    public int cuModuleUnload(long module) {
        try {
            return (int) moduleUnload.invokeExact(module);
        } catch (Throwable t) {
            throw badBinding("cuModuleUnload", t);
        }
    }

    @Override
    public int cuModuleGetFunction(long[] function, long module, String name) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outFunction = arena.allocate(ValueLayout.JAVA_LONG);
            int status =
                    (int)
                            moduleGetFunction.invokeExact(
                                    outFunction, module, arena.allocateFrom(name));
            function[0] = outFunction.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuModuleGetFunction", t);
        }
    }

    @Override
    public int cuFuncGetAttribute(int[] value, int attribute, long function) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outValue = arena.allocate(ValueLayout.JAVA_INT);
            int status = (int) funcGetAttribute.invokeExact(outValue, attribute, function);
            value[0] = outValue.get(ValueLayout.JAVA_INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuFuncGetAttribute", t);
        }
    }

    @Override
    public int cuFuncSetAttribute(long function, int attribute, int value) {
        try {
            return (int) funcSetAttribute.invokeExact(function, attribute, value);
        } catch (Throwable t) {
            throw badBinding("cuFuncSetAttribute", t);
        }
    }

    @Override
    public int cuFuncGetParamInfo(long function, long index, long[] offset, long[] bytes) {
        if (funcGetParamInfo.isEmpty()) {
            return CudaDriverConstants.NOT_FOUND;
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outOffset = arena.allocate(ValueLayout.JAVA_LONG);
            MemorySegment outBytes = arena.allocate(ValueLayout.JAVA_LONG);
            int status =
                    (int) funcGetParamInfo.get().invokeExact(function, index, outOffset, outBytes);
            offset[0] = outOffset.get(ValueLayout.JAVA_LONG, 0);
            bytes[0] = outBytes.get(ValueLayout.JAVA_LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuFuncGetParamInfo", t);
        }
    }

    @Override
    public int cuOccupancyMaxActiveBlocksPerMultiprocessor(
            int[] blocks, long function, int blockThreads, long dynamicSharedBytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment outBlocks = arena.allocate(ValueLayout.JAVA_INT);
            int status =
                    (int)
                            occupancyMaxActiveBlocksPerMultiprocessor.invokeExact(
                                    outBlocks, function, blockThreads, dynamicSharedBytes);
            blocks[0] = outBlocks.get(ValueLayout.JAVA_INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("cuOccupancyMaxActiveBlocksPerMultiprocessor", t);
        }
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
        try {
            return (int)
                    launchKernel.invokeExact(
                            function,
                            gridX,
                            gridY,
                            gridZ,
                            blockX,
                            blockY,
                            blockZ,
                            dynamicSharedBytes,
                            stream,
                            parameters,
                            MemorySegment.NULL);
        } catch (Throwable t) {
            throw badBinding("cuLaunchKernel", t);
        }
    }

    @Override
    public String errorName(int code) {
        return text(getErrorName, code);
    }

    @Override
    public String errorString(int code) {
        return text(getErrorString, code);
    }

    private static String text(MethodHandle function, int code) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ValueLayout.ADDRESS);
            int status = (int) function.invokeExact(code, out);
            return status == 0 ? Downcalls.string(out.get(ValueLayout.ADDRESS, 0)) : "code " + code;
        } catch (Throwable t) {
            throw badBinding("cuGetErrorName", t);
        }
    }
}
