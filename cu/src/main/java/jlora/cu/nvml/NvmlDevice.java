package jlora.cu.nvml;

import jlora.cu.sys.NvmlConstants;

import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;

/** A device as the driver sees it, whichever process uses it. Empty results: it cannot tell. */
public final class NvmlDevice {
    /** Bytes of the whole device; used counts every process and what the driver keeps. */
    public record Memory(long total, long free, long used) {}

    /**
     * Percent of the last sample period, up to a second, in which a kernel ran, and in which memory
     * was read or written.
     */
    public record Utilization(int gpu, int memory) {}

    private final Nvml nvml;
    private final long handle;
    private final String uuid;

    NvmlDevice(Nvml nvml, long handle) {
        this.nvml = nvml;
        this.handle = handle;
        String[] found = new String[1];
        nvml.check("nvmlDeviceGetUUID", nvml.sys().nvmlDeviceGetUuid(handle, found), "");
        this.uuid = found[0];
    }

    long handle() {
        return handle;
    }

    /** {@code GPU-...}, the same in every boot. */
    public String uuid() {
        return uuid;
    }

    public String name() {
        String[] name = new String[1];
        nvml.check("nvmlDeviceGetName", nvml.sys().nvmlDeviceGetName(handle, name), uuid);
        return name[0];
    }

    public Memory memory() {
        long[] bytes = new long[3];
        nvml.check(
                "nvmlDeviceGetMemoryInfo", nvml.sys().nvmlDeviceGetMemoryInfo(handle, bytes), uuid);
        return new Memory(bytes[0], bytes[1], bytes[2]);
    }

    public Optional<Utilization> utilization() {
        int[] percent = new int[2];
        return nvml.supported(
                        "nvmlDeviceGetUtilizationRates",
                        nvml.sys().nvmlDeviceGetUtilizationRates(handle, percent),
                        uuid)
                ? Optional.of(new Utilization(percent[0], percent[1]))
                : Optional.empty();
    }

    /** Memory errors since the driver was loaded that ECC could not correct. */
    public OptionalLong uncorrectedEccErrors() {
        long[] count = new long[1];
        return nvml.supported(
                        "nvmlDeviceGetTotalEccErrors",
                        nvml.sys()
                                .nvmlDeviceGetTotalEccErrors(
                                        handle,
                                        NvmlConstants.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                                        NvmlConstants.NVML_VOLATILE_ECC,
                                        count),
                        uuid)
                ? OptionalLong.of(count[0])
                : OptionalLong.empty();
    }

    /** Watts of the whole board, averaged over a second on newer devices. */
    public OptionalDouble power() {
        int[] milliwatts = new int[1];
        return nvml.supported(
                        "nvmlDeviceGetPowerUsage",
                        nvml.sys().nvmlDeviceGetPowerUsage(handle, milliwatts),
                        uuid)
                ? OptionalDouble.of(milliwatts[0] / 1000.0)
                : OptionalDouble.empty();
    }

    /** Degrees Celsius of the chip. */
    public OptionalInt temperature() {
        int[] celsius = new int[1];
        return nvml.supported(
                        "nvmlDeviceGetTemperature",
                        nvml.sys()
                                .nvmlDeviceGetTemperature(
                                        handle, NvmlConstants.NVML_TEMPERATURE_GPU, celsius),
                        uuid)
                ? OptionalInt.of(celsius[0])
                : OptionalInt.empty();
    }

    @Override
    public String toString() {
        return uuid;
    }
}
