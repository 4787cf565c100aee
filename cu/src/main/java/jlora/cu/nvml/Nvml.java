package jlora.cu.nvml;

import jlora.cu.NativeLibrary;
import jlora.cu.driver.CudaException;
import jlora.cu.sys.NvmlConstants;
import jlora.cu.sys.NvmlSys;

import java.util.ArrayList;
import java.util.List;

/**
 * The driver's management library, initialised: what the devices of this machine are doing. Needs
 * no CUDA context; any thread may ask.
 */
public final class Nvml implements AutoCloseable {
    private final NvmlSys sys;
    private boolean closed;

    private Nvml(NvmlSys sys) {
        this.sys = sys;
    }

    /**
     * @throws CudaException when the driver is not loaded or differs from the library
     */
    public static Nvml open(NativeLibrary library) {
        Nvml nvml = new Nvml(new NvmlSys(library.symbols()));
        nvml.check("nvmlInit", nvml.sys.nvmlInit(), library.path().toString());
        return nvml;
    }

    /** The driver's version, such as {@code 580.82.07}. */
    public String driverVersion() {
        String[] version = new String[1];
        check("nvmlSystemGetDriverVersion", sys().nvmlSystemGetDriverVersion(version), "");
        return version[0];
    }

    /** All devices, in the order of their PCI bus, which CUDA's order may differ from. */
    public List<NvmlDevice> devices() {
        int[] count = new int[1];
        check("nvmlDeviceGetCount", sys().nvmlDeviceGetCount(count), "");
        List<NvmlDevice> devices = new ArrayList<>();
        for (int index = 0; index < count[0]; index++) {
            devices.add(device(index));
        }
        return devices;
    }

    public NvmlDevice device(int index) {
        long[] handle = new long[1];
        check(
                "nvmlDeviceGetHandleByIndex",
                sys().nvmlDeviceGetHandleByIndex(index, handle),
                "device " + index);
        return new NvmlDevice(this, handle[0]);
    }

    /**
     * @param uuid as {@code nvidia-smi -L} prints it: {@code GPU-...}
     */
    public NvmlDevice deviceByUuid(String uuid) {
        long[] handle = new long[1];
        check("nvmlDeviceGetHandleByUUID", sys().nvmlDeviceGetHandleByUuid(uuid, handle), uuid);
        return new NvmlDevice(this, handle[0]);
    }

    /**
     * @param busId such as {@code 0000:3b:00.0}: what CUDA knows the device by as well
     */
    public NvmlDevice deviceByPciBusId(String busId) {
        long[] handle = new long[1];
        check(
                "nvmlDeviceGetHandleByPciBusId",
                sys().nvmlDeviceGetHandleByPciBusId(busId, handle),
                busId);
        return new NvmlDevice(this, handle[0]);
    }

    NvmlSys sys() {
        if (closed) {
            throw new IllegalStateException("NVML is closed");
        }
        return sys;
    }

    void check(String call, int status, String detail) {
        if (status != NvmlConstants.NVML_SUCCESS) {
            CudaException.Failure failure =
                    new CudaException.Failure(call, status, sys.nvmlErrorString(status), detail);
            throw status == NvmlConstants.NVML_ERROR_GPU_IS_LOST
                    ? new CudaException.ContextLost(failure)
                    : new CudaException.CallFailed(failure);
        }
    }

    /** False when this device does not have what was asked for. */
    boolean supported(String call, int status, String detail) {
        if (status == NvmlConstants.NVML_ERROR_NOT_SUPPORTED) {
            return false;
        }
        check(call, status, detail);
        return true;
    }

    @Override
    public void close() {
        if (!closed) {
            closed = true;
            check("nvmlShutdown", sys.nvmlShutdown(), "");
        }
    }
}
