package jlora.cu.driver;

import jlora.cu.sys.CudaDriverConstants;

/** A point in a stream's work: to wait for, and to time by. */
public final class CudaEvent implements AutoCloseable {
    private final CudaDriver driver;
    private final String label;
    private long handle;

    private CudaEvent(CudaDriver driver, String label, long handle) {
        this.driver = driver;
        this.label = label;
        this.handle = handle;
    }

    static CudaEvent create(CudaDriver driver, String label) {
        long[] event = new long[1];
        driver.check(
                "cuEventCreate",
                driver.api().cuEventCreate(event, CudaDriverConstants.EVENT_DEFAULT),
                label);
        return new CudaEvent(driver, label, event[0]);
    }

    long handle() {
        if (handle == 0) {
            throw new IllegalStateException("event '" + label + "' is closed");
        }
        return handle;
    }

    /** True when the stream has passed the event, or it was never recorded. */
    public boolean passed() {
        int status = driver.api().cuEventQuery(handle());
        if (status == CudaDriverConstants.NOT_READY) {
            return false;
        }
        driver.check("cuEventQuery", status, label);
        return true;
    }

    /** Blocks until the stream has passed the event. */
    public void synchronize() {
        driver.check("cuEventSynchronize", driver.api().cuEventSynchronize(handle()), label);
    }

    /** Milliseconds from an earlier event to this one, both passed; about 0.5 µs exact. */
    public float millisecondsSince(CudaEvent start) {
        float[] milliseconds = new float[1];
        driver.check(
                "cuEventElapsedTime",
                driver.api().cuEventElapsedTime(milliseconds, start.handle(), handle()),
                label);
        return milliseconds[0];
    }

    @Override
    public void close() {
        if (handle != 0) {
            long destroyed = handle;
            handle = 0;
            driver.check("cuEventDestroy", driver.api().cuEventDestroy(destroyed), label);
        }
    }
}
