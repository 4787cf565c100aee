package jlora.cu.driver;

import java.lang.foreign.MemorySegment;

/** Loaded kernels. */
public final class CudaModule implements AutoCloseable {
    private final CudaDriver driver;
    private final String label;
    private long handle;

    private CudaModule(CudaDriver driver, String label, long handle) {
        this.driver = driver;
        this.label = label;
        this.handle = handle;
    }

    static CudaModule load(CudaDriver driver, String label, MemorySegment image) {
        long[] module = new long[1];
        driver.check("cuModuleLoadData", driver.api().cuModuleLoadData(module, image), label);
        return new CudaModule(driver, label, module[0]);
    }

    /** A kernel by its {@code extern "C"} name. */
    public CudaFunction function(String name) {
        if (handle == 0) {
            throw new IllegalStateException("module '" + label + "' is closed");
        }
        long[] function = new long[1];
        driver.check(
                "cuModuleGetFunction",
                driver.api().cuModuleGetFunction(function, handle, name),
                () -> "kernel " + name + " of " + label);
        return new CudaFunction(driver, name, function[0]);
    }

    @Override
    public void close() {
        if (handle != 0) {
            long unloaded = handle;
            handle = 0;
            driver.check("cuModuleUnload", driver.api().cuModuleUnload(unloaded), label);
        }
    }
}
