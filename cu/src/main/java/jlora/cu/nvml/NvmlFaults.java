package jlora.cu.nvml;

import jlora.cu.sys.NvmlConstants;

import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * Waits for what the driver reports of devices by itself: critical Xid errors (a kernel that read
 * where it must not, a device that fell off the bus) and memory errors that ECC cannot correct.
 */
public final class NvmlFaults implements AutoCloseable {
    private static final long TYPES =
            NvmlConstants.nvmlEventTypeXidCriticalError
                    | NvmlConstants.nvmlEventTypeDoubleBitEccError;

    /**
     * @param xid the number that NVIDIA's list of Xid errors explains; empty for an ECC error
     */
    public record Fault(NvmlDevice device, Optional<Long> xid) {
        @Override
        public String toString() {
            return device.uuid()
                    + ": "
                    + xid.map(number -> "Xid " + number).orElse("uncorrectable memory error (ECC)");
        }
    }

    private final Nvml nvml;
    private final List<NvmlDevice> devices;
    private long set;

    private NvmlFaults(Nvml nvml, List<NvmlDevice> devices, long set) {
        this.nvml = nvml;
        this.devices = devices;
        this.set = set;
    }

    /** Empty when one of the devices does not report faults. */
    public static Optional<NvmlFaults> watch(Nvml nvml, List<NvmlDevice> devices) {
        long[] set = new long[1];
        nvml.check("nvmlEventSetCreate", nvml.sys().nvmlEventSetCreate(set), "");
        NvmlFaults faults = new NvmlFaults(nvml, List.copyOf(devices), set[0]);
        try {
            for (NvmlDevice device : devices) {
                int status = nvml.sys().nvmlDeviceRegisterEvents(device.handle(), TYPES, set[0]);
                if (!nvml.supported("nvmlDeviceRegisterEvents", status, device.uuid())) {
                    faults.close();
                    return Optional.empty();
                }
            }
            return Optional.of(faults);
        } catch (RuntimeException | Error e) {
            faults.close();
            throw e;
        }
    }

    /** The next fault, or nothing after so long; zero asks without waiting. */
    public Optional<Fault> await(Duration longest) {
        if (set == 0) {
            throw new IllegalStateException("the watch for faults is closed");
        }
        long[] event = new long[3];
        int milliseconds = Math.toIntExact(longest.toMillis());
        int status = nvml.sys().nvmlEventSetWait(set, event, milliseconds);
        if (status == NvmlConstants.NVML_ERROR_TIMEOUT) {
            return Optional.empty();
        }
        nvml.check("nvmlEventSetWait", status, devices.toString());
        NvmlDevice device =
                devices.stream()
                        .filter(candidate -> candidate.handle() == event[0])
                        .findFirst()
                        .orElseThrow(
                                () ->
                                        new IllegalStateException(
                                                "an event of a device that is not watched"));
        boolean xid = event[1] == NvmlConstants.nvmlEventTypeXidCriticalError;
        return Optional.of(new Fault(device, xid ? Optional.of(event[2]) : Optional.empty()));
    }

    @Override
    public void close() {
        if (set != 0) {
            long freed = set;
            set = 0;
            nvml.check("nvmlEventSetFree", nvml.sys().nvmlEventSetFree(freed), "");
        }
    }
}
