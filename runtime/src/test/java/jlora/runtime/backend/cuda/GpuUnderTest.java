package jlora.runtime.backend.cuda;

import jlora.cu.CudaLibraries;

/** The GPU that a property names, for tests that are skipped where none is named. */
public final class GpuUnderTest {
    public static final String PROPERTY = "jlora.cuda";

    /** Why such tests are skipped. */
    public static final String NONE = "no GPU: -D" + PROPERTY + "=cuda:0 names the one to test on";

    private GpuUnderTest() {}

    /** Fails where the GPU cannot be used. */
    public static CudaBackend open() {
        String device = System.getProperty(PROPERTY);
        int ordinal = Integer.parseInt(device.substring(device.indexOf(':') + 1));
        return new CudaBackend(CudaLibraries.find(), ordinal);
    }
}
