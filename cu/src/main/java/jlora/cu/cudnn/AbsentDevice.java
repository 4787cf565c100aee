package jlora.cu.cudnn;

import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_ENGINEHEUR_DEVICEPROP;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_ENGINE_DEVICEPROP;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR;

/**
 * A device that this machine does not have: plans for it can be made, and say how much workspace
 * they need, but not executed. Needs cuDNN 9.11 and no driver.
 */
public final class AbsentDevice extends CudnnDevice {
    /** The first cuDNN that makes plans from a description. */
    public static final int OLDEST = 91100;

    /**
     * What cuDNN asks of a device.
     *
     * @param computeCapability 10 · major + minor
     * @param sharedBytes the most that one block can ask for
     */
    public record Model(
            String name,
            int computeCapability,
            int multiprocessors,
            int sharedBytes,
            int threadsPerMultiprocessor,
            int blocksPerMultiprocessor,
            int l2Bytes,
            long totalBytes) {
        public static final Model A100 =
                new Model("A100", 80, 108, 163 << 10, 2048, 32, 40 << 20, 80L << 30);
        public static final Model RTX_4090 =
                new Model("RTX 4090", 89, 128, 99 << 10, 1536, 24, 72 << 20, 24L << 30);
        public static final Model H100 =
                new Model("H100", 90, 132, 227 << 10, 2048, 32, 50 << 20, 80L << 30);
        public static final Model B200 =
                new Model("B200", 100, 148, 227 << 10, 2048, 32, 126 << 20, 180L << 30);
        public static final Model RTX_5090 =
                new Model("RTX 5090", 120, 170, 99 << 10, 1536, 24, 96 << 20, 32L << 30);

        /** As cuDNN writes the properties of a device down. */
        private String json() {
            return """
            {"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
             "deviceName": "%s", "cudaDeviceId": 0, "deviceVer": %d, "driverVer": 13000,
             "regsPerBlock": 65536, "multiProcessorCount": %d, "warpSize": 32,
             "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": %d,
             "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536,
             "maxCtasPerSM": %d, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": %d,
             "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1,
             "smClockRateKHz": 1500000, "memClockRateKHz": 2000000, "l2CacheSize": %d,
             "totalGlobalMem": %d}\
            """
                    .formatted(
                            name,
                            10 * computeCapability,
                            multiprocessors,
                            sharedBytes,
                            blocksPerMultiprocessor,
                            threadsPerMultiprocessor,
                            l2Bytes,
                            totalBytes);
        }
    }

    private final Descriptor properties;

    private AbsentDevice(Cudnn cudnn, int computeCapability, Descriptor properties) {
        super(cudnn, computeCapability);
        this.properties = properties;
    }

    public static AbsentDevice of(Cudnn cudnn, Model model) {
        if (cudnn.version() < OLDEST) {
            throw new UnsupportedByCudnnException(
                    "plans for a device that is not there need cuDNN "
                            + Cudnn.text(OLDEST)
                            + "; this is "
                            + cudnn.versionText());
        }
        Descriptor properties =
                Descriptor.create(
                        cudnn,
                        CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR,
                        "properties of " + model.name());
        try {
            properties.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, model.json()).finish();
            return new AbsentDevice(cudnn, model.computeCapability(), properties);
        } catch (RuntimeException | Error e) {
            properties.close();
            throw e;
        }
    }

    @Override
    void describeGraph(Descriptor graph) {}

    @Override
    void describeHeuristics(Descriptor heuristics) {
        heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, properties);
    }

    @Override
    void describeEngine(Descriptor engine) {
        engine.set(CUDNN_ATTR_ENGINE_DEVICEPROP, properties);
    }

    @Override
    void describePlan(Descriptor plan) {
        plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, properties);
    }

    @Override
    void execute(Descriptor plan, Descriptor pack, String label) {
        throw new IllegalStateException(label + " was planned for a device that is not there");
    }

    @Override
    public void close() {
        properties.close();
    }
}
