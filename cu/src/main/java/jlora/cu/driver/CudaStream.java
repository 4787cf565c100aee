package jlora.cu.driver;

import jlora.cu.sys.CudaDriverApi;
import jlora.cu.sys.CudaDriverConstants;

import java.lang.foreign.Arena;

/**
 * An ordered queue of device work. Calls only start work, except {@link #synchronize}; host memory
 * that a copy uses must be pinned and stay until the copy has passed.
 */
public final class CudaStream implements AutoCloseable {
    private final CudaDriver driver;
    private final String label;
    private final boolean owned;
    private final Arena arena = Arena.ofShared();
    private final KernelArgs args = new KernelArgs(arena);
    private long handle;
    private boolean capturing;
    private boolean closed;

    private CudaStream(CudaDriver driver, String label, long handle, boolean owned) {
        this.driver = driver;
        this.label = label;
        this.handle = handle;
        this.owned = owned;
    }

    static CudaStream create(CudaDriver driver, String label) {
        long[] stream = new long[1];
        driver.check(
                "cuStreamCreate",
                driver.api().cuStreamCreate(stream, CudaDriverConstants.STREAM_NON_BLOCKING),
                label);
        return new CudaStream(driver, label, stream[0], true);
    }

    /** A stream that another library of this process made; it is not destroyed here. */
    public static CudaStream adopt(CudaDriver driver, String label, long handle) {
        return new CudaStream(driver, label, handle, false);
    }

    public String label() {
        return label;
    }

    /** The {@code CUstream}, for libraries that take one. */
    public long handle() {
        if (closed) {
            throw new IllegalStateException("stream '" + label + "' is closed");
        }
        return handle;
    }

    /** The stream's argument block, empty; fill it and {@link #launch}. */
    public KernelArgs args() {
        return args.reset();
    }

    public void launch(CudaFunction function, LaunchShape shape, KernelArgs arguments) {
        function.launch(this, shape, arguments);
    }

    public void copyToDevice(long to, long fromHost, long bytes) {
        driver.check(
                "cuMemcpyHtoDAsync",
                driver.api().cuMemcpyHtoDAsync(to, fromHost, bytes, handle()),
                () -> bytes + " bytes on stream " + label);
    }

    public void copyToHost(long toHost, long from, long bytes) {
        driver.check(
                "cuMemcpyDtoHAsync",
                driver.api().cuMemcpyDtoHAsync(toHost, from, bytes, handle()),
                () -> bytes + " bytes on stream " + label);
    }

    public void copy(long to, long from, long bytes) {
        driver.check(
                "cuMemcpyDtoDAsync",
                driver.api().cuMemcpyDtoDAsync(to, from, bytes, handle()),
                () -> bytes + " bytes on stream " + label);
    }

    /** Rows of different pitch. */
    public void copy(CudaDriverApi.Copy2D copy) {
        driver.check(
                "cuMemcpy2DAsync", driver.api().cuMemcpy2DAsync(copy, handle()), copy::toString);
    }

    public void fill(long address, byte value, long bytes) {
        driver.check(
                "cuMemsetD8Async",
                driver.api().cuMemsetD8Async(address, value, bytes, handle()),
                () -> bytes + " bytes on stream " + label);
    }

    public void record(CudaEvent event) {
        driver.check("cuEventRecord", driver.api().cuEventRecord(event.handle(), handle()), label);
    }

    /** Later work of this stream starts when the event has passed. */
    public void waitFor(CudaEvent event) {
        driver.check(
                "cuStreamWaitEvent",
                driver.api().cuStreamWaitEvent(handle(), event.handle(), 0),
                label);
    }

    public void synchronize() {
        driver.check("cuStreamSynchronize", driver.api().cuStreamSynchronize(handle()), label);
    }

    /** From here to {@link #endCapture} work is recorded instead of run. */
    public void beginCapture() {
        driver.check(
                "cuStreamBeginCapture",
                driver.api()
                        .cuStreamBeginCapture(
                                handle(), CudaDriverConstants.STREAM_CAPTURE_MODE_THREAD_LOCAL),
                label);
        capturing = true;
    }

    public CudaGraph endCapture(String graphLabel) {
        capturing = false;
        long[] graph = new long[1];
        driver.check(
                "cuStreamEndCapture", driver.api().cuStreamEndCapture(handle(), graph), graphLabel);
        return CudaGraph.instantiate(driver, graphLabel, graph[0]);
    }

    /** Gives up what was recorded so far, after an error. */
    public void abortCapture() {
        if (capturing) {
            capturing = false;
            long[] graph = new long[1];
            int status = driver.api().cuStreamEndCapture(handle(), graph);
            if (status == CudaDriverConstants.SUCCESS && graph[0] != 0) {
                driver.check("cuGraphDestroy", driver.api().cuGraphDestroy(graph[0]), label);
            }
        }
    }

    public boolean capturing() {
        return capturing;
    }

    @Override
    public void close() {
        if (!closed) {
            closed = true;
            arena.close();
            if (owned) {
                driver.check("cuStreamDestroy", driver.api().cuStreamDestroy(handle), label);
            }
        }
    }
}
