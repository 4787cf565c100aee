package jlora.cu.driver;

import jlora.cu.sys.CudaDriverApi;

import java.lang.foreign.MemorySegment;

/**
 * The current context of one device, and the factory of everything that lives in it. A context
 * belongs to the OS thread that made it current: one platform thread per device makes all calls;
 * others call {@link #makeCurrent} first.
 */
public final class CudaContext implements AutoCloseable {
    /** Bytes that the driver counts as free, and all there are. */
    public record Memory(long free, long total) {}

    private final CudaDriver driver;
    private final DeviceInfo device;
    private final long handle;
    private final boolean owned;
    private boolean closed;

    private CudaContext(CudaDriver driver, DeviceInfo device, long handle, boolean owned) {
        this.driver = driver;
        this.device = device;
        this.handle = handle;
        this.owned = owned;
    }

    /** Retains the device's primary context, which all libraries of a process share. */
    public static CudaContext open(CudaDriver driver, int ordinal) {
        DeviceInfo device = DeviceInfo.of(driver, ordinal);
        CudaDriverApi api = driver.api();
        int[] number = new int[1];
        driver.check("cuDeviceGet", api.cuDeviceGet(number, ordinal), "device " + ordinal);
        long[] context = new long[1];
        driver.check(
                "cuDevicePrimaryCtxRetain",
                api.cuDevicePrimaryCtxRetain(context, number[0]),
                "device " + ordinal + " (" + device.name() + ")");
        CudaContext opened = new CudaContext(driver, device, context[0], true);
        try {
            opened.makeCurrent();
            return opened;
        } catch (RuntimeException | Error e) {
            opened.close();
            throw e;
        }
    }

    /**
     * A context that another library of this process made, current on the calling thread; it is not
     * released here.
     */
    public static CudaContext adopt(CudaDriver driver, long handle) {
        CudaDriverApi api = driver.api();
        driver.check("cuCtxSetCurrent", api.cuCtxSetCurrent(handle), "an adopted context");
        int[] number = new int[1];
        driver.check("cuCtxGetDevice", api.cuCtxGetDevice(number), "an adopted context");
        return new CudaContext(driver, DeviceInfo.of(driver, number[0]), handle, false);
    }

    public CudaDriver driver() {
        return driver;
    }

    public DeviceInfo device() {
        return device;
    }

    public long handle() {
        if (closed) {
            throw new IllegalStateException("the context of " + device.name() + " is closed");
        }
        return handle;
    }

    public void makeCurrent() {
        driver.check("cuCtxSetCurrent", driver.api().cuCtxSetCurrent(handle()), device.name());
    }

    public Memory memory() {
        long[] free = new long[1];
        long[] total = new long[1];
        driver.check("cuMemGetInfo", driver.api().cuMemGetInfo(free, total), device.name());
        return new Memory(free[0], total[0]);
    }

    public CudaStream stream(String label) {
        return CudaStream.create(driver, label);
    }

    public CudaEvent event(String label) {
        return CudaEvent.create(driver, label);
    }

    /** A fatbin, cubin or PTX with kernels for this device. */
    public CudaModule load(String label, MemorySegment image) {
        return CudaModule.load(driver, label, image);
    }

    /** Memory of the device; its contents are not defined. */
    public DeviceBuffer allocate(String label, long bytes) {
        return DeviceBuffer.allocate(driver, label, bytes);
    }

    /** Host memory that the device copies from and to by itself. */
    public PinnedBuffer allocatePinned(String label, long bytes) {
        return PinnedBuffer.allocate(driver, label, bytes);
    }

    /** Waits for everything that was started in this context. */
    public void synchronize() {
        driver.check("cuCtxSynchronize", driver.api().cuCtxSynchronize(), device.name());
    }

    @Override
    public void close() {
        if (!closed) {
            closed = true;
            if (owned) {
                int[] number = new int[1];
                CudaDriverApi api = driver.api();
                driver.check("cuDeviceGet", api.cuDeviceGet(number, device.ordinal()), "");
                driver.check(
                        "cuDevicePrimaryCtxRelease",
                        api.cuDevicePrimaryCtxRelease(number[0]),
                        device.name());
            }
        }
    }
}
