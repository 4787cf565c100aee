package jlora.cu.driver;

/** One named allocation of device memory. Its address is a number: Java never reads through it. */
public final class DeviceBuffer implements AutoCloseable {
    private final CudaDriver driver;
    private final String label;
    private final long bytes;
    private long address;

    private DeviceBuffer(CudaDriver driver, String label, long bytes, long address) {
        this.driver = driver;
        this.label = label;
        this.bytes = bytes;
        this.address = address;
    }

    static DeviceBuffer allocate(CudaDriver driver, String label, long bytes) {
        if (bytes <= 0) {
            throw new IllegalArgumentException(label + ": " + bytes + " bytes of device memory");
        }
        long[] address = new long[1];
        driver.check(
                "cuMemAlloc",
                driver.api().cuMemAlloc(address, bytes),
                () -> label + ", " + bytes + " bytes");
        return new DeviceBuffer(driver, label, bytes, address[0]);
    }

    public String label() {
        return label;
    }

    public long bytes() {
        return bytes;
    }

    public long address() {
        if (address == 0) {
            throw new IllegalStateException("device buffer '" + label + "' is closed");
        }
        return address;
    }

    /** Waits for kernels that use it (the driver does), then frees it; twice is fine. */
    @Override
    public void close() {
        if (address != 0) {
            long freed = address;
            address = 0;
            driver.check("cuMemFree", driver.api().cuMemFree(freed), label);
        }
    }
}
