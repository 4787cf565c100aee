package jlora.cu.sys;

import java.lang.foreign.MemorySegment;

/**
 * The calls of the CUDA driver that jlora uses, with the names and status codes of {@code cuda.h}
 * and no policy: 0 is success, results go into the first element of an array. Handles and device
 * addresses are {@code long}s; host addresses too, where the driver keeps them past the call.
 */
public interface CudaDriverApi {
    /** Who makes the calls, for messages and reports: {@code panama} or {@code jcuda}. */
    String provider();

    int cuInit();

    int cuDriverGetVersion(int[] version);

    int cuDeviceGetCount(int[] count);

    int cuDeviceGet(int[] device, int ordinal);

    int cuDeviceGetName(byte[] name, int device);

    int cuDeviceGetUuid(byte[] uuid, int device);

    int cuDeviceGetAttribute(int[] value, int attribute, int device);

    int cuDeviceTotalMem(long[] bytes, int device);

    int cuDevicePrimaryCtxRetain(long[] context, int device);

    int cuDevicePrimaryCtxRelease(int device);

    int cuCtxSetCurrent(long context);

    int cuCtxGetCurrent(long[] context);

    /** The device of the calling thread's current context. */
    int cuCtxGetDevice(int[] device);

    int cuCtxSynchronize();

    int cuMemGetInfo(long[] free, long[] total);

    int cuMemAlloc(long[] address, long bytes);

    int cuMemFree(long address);

    int cuMemHostAlloc(long[] hostAddress, long bytes, int flags);

    int cuMemFreeHost(long hostAddress);

    int cuMemcpyHtoDAsync(long to, long fromHost, long bytes, long stream);

    int cuMemcpyDtoHAsync(long toHost, long from, long bytes, long stream);

    int cuMemcpyDtoDAsync(long to, long from, long bytes, long stream);

    /** Rows between host and device memory or within device memory, as {@link Copy2D} says. */
    int cuMemcpy2DAsync(Copy2D copy, long stream);

    int cuMemsetD8Async(long address, byte value, long count, long stream);

    int cuStreamCreate(long[] stream, int flags);

    int cuStreamDestroy(long stream);

    int cuStreamSynchronize(long stream);

    int cuStreamWaitEvent(long stream, long event, int flags);

    int cuStreamBeginCapture(long stream, int mode);

    int cuStreamEndCapture(long stream, long[] graph);

    int cuGraphInstantiate(long[] executable, long graph, long flags);

    int cuGraphLaunch(long executable, long stream);

    int cuGraphGetNodes(long graph, long[] count);

    int cuGraphExecDestroy(long executable);

    int cuGraphDestroy(long graph);

    int cuEventCreate(long[] event, int flags);

    int cuEventDestroy(long event);

    int cuEventRecord(long event, long stream);

    int cuEventQuery(long event);

    int cuEventSynchronize(long event);

    int cuEventElapsedTime(float[] milliseconds, long start, long end);

    /** The image is a fatbin, cubin or PTX in memory; the driver copies it. */
    int cuModuleLoadData(long[] module, MemorySegment image);

    int cuModuleUnload(long module);

    int cuModuleGetFunction(long[] function, long module, String name);

    int cuFuncGetAttribute(int[] value, int attribute, long function);

    int cuFuncSetAttribute(long function, int attribute, int value);

    /**
     * Offset and size of a kernel's parameter; {@link CudaDriverConstants#INVALID_VALUE} past the
     * last one, {@link CudaDriverConstants#NOT_FOUND} when the driver is older than 12.4 and has no
     * such call.
     */
    int cuFuncGetParamInfo(long function, long index, long[] offset, long[] bytes);

    int cuOccupancyMaxActiveBlocksPerMultiprocessor(
            int[] blocks, long function, int blockThreads, long dynamicSharedBytes);

    /**
     * @param parameters an array of pointers to the arguments, copied before the call returns
     */
    int cuLaunchKernel(
            long function,
            int gridX,
            int gridY,
            int gridZ,
            int blockX,
            int blockY,
            int blockZ,
            int dynamicSharedBytes,
            long stream,
            MemorySegment parameters);

    /** The name of a status code, such as {@code CUDA_ERROR_OUT_OF_MEMORY}. */
    String errorName(int code);

    /** What the driver says of a status code, in words. */
    String errorString(int code);

    /**
     * A copy of {@code height} rows of {@code widthInBytes}; one side may be host memory.
     *
     * @param toHost {@code to} is a host address
     * @param fromHost {@code from} is a host address
     */
    record Copy2D(
            long to,
            long toPitch,
            boolean toHost,
            long from,
            long fromPitch,
            boolean fromHost,
            long widthInBytes,
            long height) {}
}
