package jlora.cu.sys;

import static jlora.cu.sys.Downcalls.INT;
import static jlora.cu.sys.Downcalls.LONG;
import static jlora.cu.sys.Downcalls.POINTER;
import static jlora.cu.sys.Downcalls.badBinding;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;

/** NVML by Panama: ABI names, raw status codes. Devices and event sets are numbers. */
public final class NvmlSys {
    public static final StructLayout MEMORY =
            MemoryLayout.structLayout(
                    ValueLayout.JAVA_LONG.withName("total"),
                    ValueLayout.JAVA_LONG.withName("free"),
                    ValueLayout.JAVA_LONG.withName("used"));

    public static final StructLayout UTILIZATION =
            MemoryLayout.structLayout(
                    ValueLayout.JAVA_INT.withName("gpu"), ValueLayout.JAVA_INT.withName("memory"));

    public static final StructLayout EVENT_DATA =
            MemoryLayout.structLayout(
                    ValueLayout.JAVA_LONG.withName("device"),
                    ValueLayout.JAVA_LONG.withName("eventType"),
                    ValueLayout.JAVA_LONG.withName("eventData"),
                    ValueLayout.JAVA_INT.withName("gpuInstanceId"),
                    ValueLayout.JAVA_INT.withName("computeInstanceId"));

    private final MethodHandle init;
    private final MethodHandle shutdown;
    private final MethodHandle errorString;
    private final MethodHandle systemGetDriverVersion;
    private final MethodHandle deviceGetCount;
    private final MethodHandle deviceGetHandleByIndex;
    private final MethodHandle deviceGetHandleByUuid;
    private final MethodHandle deviceGetHandleByPciBusId;
    private final MethodHandle deviceGetName;
    private final MethodHandle deviceGetUuid;
    private final MethodHandle deviceGetMemoryInfo;
    private final MethodHandle deviceGetUtilizationRates;
    private final MethodHandle deviceGetTotalEccErrors;
    private final MethodHandle deviceGetPowerUsage;
    private final MethodHandle deviceGetTemperature;
    private final MethodHandle eventSetCreate;
    private final MethodHandle deviceRegisterEvents;
    private final MethodHandle eventSetWait;
    private final MethodHandle eventSetFree;

    /**
     * @throws MissingSymbolException when the library lacks a function
     */
    public NvmlSys(SymbolLookup symbols) {
        Downcalls library = new Downcalls("libnvidia-ml", symbols);
        init = library.status("nvmlInit_v2");
        shutdown = library.status("nvmlShutdown");
        errorString = library.function("nvmlErrorString", FunctionDescriptor.of(POINTER, INT));
        systemGetDriverVersion = library.status("nvmlSystemGetDriverVersion", POINTER, INT);
        deviceGetCount = library.status("nvmlDeviceGetCount_v2", POINTER);
        deviceGetHandleByIndex = library.status("nvmlDeviceGetHandleByIndex_v2", INT, POINTER);
        deviceGetHandleByUuid = library.status("nvmlDeviceGetHandleByUUID", POINTER, POINTER);
        deviceGetHandleByPciBusId =
                library.status("nvmlDeviceGetHandleByPciBusId_v2", POINTER, POINTER);
        deviceGetName = library.status("nvmlDeviceGetName", LONG, POINTER, INT);
        deviceGetUuid = library.status("nvmlDeviceGetUUID", LONG, POINTER, INT);
        deviceGetMemoryInfo = library.status("nvmlDeviceGetMemoryInfo", LONG, POINTER);
        deviceGetUtilizationRates = library.status("nvmlDeviceGetUtilizationRates", LONG, POINTER);
        deviceGetTotalEccErrors =
                library.status("nvmlDeviceGetTotalEccErrors", LONG, INT, INT, POINTER);
        deviceGetPowerUsage = library.status("nvmlDeviceGetPowerUsage", LONG, POINTER);
        deviceGetTemperature = library.status("nvmlDeviceGetTemperature", LONG, INT, POINTER);
        eventSetCreate = library.status("nvmlEventSetCreate", POINTER);
        deviceRegisterEvents = library.status("nvmlDeviceRegisterEvents", LONG, LONG, LONG);
        eventSetWait = library.status("nvmlEventSetWait_v2", LONG, POINTER, INT);
        eventSetFree = library.status("nvmlEventSetFree", LONG);
    }

    public int nvmlInit() {
        try {
            return (int) init.invokeExact();
        } catch (Throwable t) {
            throw badBinding("nvmlInit_v2", t);
        }
    }

    public int nvmlShutdown() {
        try {
            return (int) shutdown.invokeExact();
        } catch (Throwable t) {
            throw badBinding("nvmlShutdown", t);
        }
    }

    public String nvmlErrorString(int status) {
        try {
            return Downcalls.string((MemorySegment) errorString.invokeExact(status));
        } catch (Throwable t) {
            throw badBinding("nvmlErrorString", t);
        }
    }

    public int nvmlSystemGetDriverVersion(String[] version) {
        int length = NvmlConstants.NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocate(length);
            int status = (int) systemGetDriverVersion.invokeExact(text, length);
            version[0] = text.getString(0);
            return status;
        } catch (Throwable t) {
            throw badBinding("nvmlSystemGetDriverVersion", t);
        }
    }

    public int nvmlDeviceGetCount(int[] count) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(INT);
            int status = (int) deviceGetCount.invokeExact(out);
            count[0] = out.get(INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("nvmlDeviceGetCount_v2", t);
        }
    }

    public int nvmlDeviceGetHandleByIndex(int index, long[] device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(LONG);
            int status = (int) deviceGetHandleByIndex.invokeExact(index, out);
            device[0] = out.get(LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("nvmlDeviceGetHandleByIndex_v2", t);
        }
    }

    public int nvmlDeviceGetHandleByUuid(String uuid, long[] device) {
        return byText("nvmlDeviceGetHandleByUUID", deviceGetHandleByUuid, uuid, device);
    }

    public int nvmlDeviceGetHandleByPciBusId(String busId, long[] device) {
        return byText("nvmlDeviceGetHandleByPciBusId_v2", deviceGetHandleByPciBusId, busId, device);
    }

    private static int byText(String name, MethodHandle function, String text, long[] device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(LONG);
            MemorySegment chars = arena.allocateFrom(text, StandardCharsets.UTF_8);
            int status = (int) function.invokeExact(chars, out);
            device[0] = out.get(LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding(name, t);
        }
    }

    public int nvmlDeviceGetName(long device, String[] name) {
        return text(
                "nvmlDeviceGetName",
                deviceGetName,
                device,
                NvmlConstants.NVML_DEVICE_NAME_V2_BUFFER_SIZE,
                name);
    }

    public int nvmlDeviceGetUuid(long device, String[] uuid) {
        return text(
                "nvmlDeviceGetUUID",
                deviceGetUuid,
                device,
                NvmlConstants.NVML_DEVICE_UUID_V2_BUFFER_SIZE,
                uuid);
    }

    private static int text(
            String name, MethodHandle function, long device, int length, String[] result) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment chars = arena.allocate(length);
            int status = (int) function.invokeExact(device, chars, length);
            result[0] = chars.getString(0);
            return status;
        } catch (Throwable t) {
            throw badBinding(name, t);
        }
    }

    /** Bytes: total, free, used. */
    public int nvmlDeviceGetMemoryInfo(long device, long[] bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(MEMORY);
            int status = (int) deviceGetMemoryInfo.invokeExact(device, memory);
            MemorySegment.copy(memory, ValueLayout.JAVA_LONG, 0, bytes, 0, bytes.length);
            return status;
        } catch (Throwable t) {
            throw badBinding("nvmlDeviceGetMemoryInfo", t);
        }
    }

    /** Percent of time: gpu, memory. */
    public int nvmlDeviceGetUtilizationRates(long device, int[] percent) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment rates = arena.allocate(UTILIZATION);
            int status = (int) deviceGetUtilizationRates.invokeExact(device, rates);
            MemorySegment.copy(rates, ValueLayout.JAVA_INT, 0, percent, 0, percent.length);
            return status;
        } catch (Throwable t) {
            throw badBinding("nvmlDeviceGetUtilizationRates", t);
        }
    }

    public int nvmlDeviceGetTotalEccErrors(
            long device, int errorType, int counterType, long[] count) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(LONG);
            int status =
                    (int) deviceGetTotalEccErrors.invokeExact(device, errorType, counterType, out);
            count[0] = out.get(LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("nvmlDeviceGetTotalEccErrors", t);
        }
    }

    public int nvmlDeviceGetPowerUsage(long device, int[] milliwatts) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(INT);
            int status = (int) deviceGetPowerUsage.invokeExact(device, out);
            milliwatts[0] = out.get(INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("nvmlDeviceGetPowerUsage", t);
        }
    }

    public int nvmlDeviceGetTemperature(long device, int sensor, int[] celsius) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(INT);
            int status = (int) deviceGetTemperature.invokeExact(device, sensor, out);
            celsius[0] = out.get(INT, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("nvmlDeviceGetTemperature", t);
        }
    }

    public int nvmlEventSetCreate(long[] set) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(LONG);
            int status = (int) eventSetCreate.invokeExact(out);
            set[0] = out.get(LONG, 0);
            return status;
        } catch (Throwable t) {
            throw badBinding("nvmlEventSetCreate", t);
        }
    }

    public int nvmlDeviceRegisterEvents(long device, long types, long set) {
        try {
            return (int) deviceRegisterEvents.invokeExact(device, types, set);
        } catch (Throwable t) {
            throw badBinding("nvmlDeviceRegisterEvents", t);
        }
    }

    /** The event: device, type, data. */
    public int nvmlEventSetWait(long set, long[] event, int milliseconds) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment data = arena.allocate(EVENT_DATA);
            int status = (int) eventSetWait.invokeExact(set, data, milliseconds);
            event[0] = field(data, "device");
            event[1] = field(data, "eventType");
            event[2] = field(data, "eventData");
            return status;
        } catch (Throwable t) {
            throw badBinding("nvmlEventSetWait_v2", t);
        }
    }

    private static long field(MemorySegment data, String name) {
        return data.get(LONG, EVENT_DATA.byteOffset(PathElement.groupElement(name)));
    }

    public int nvmlEventSetFree(long set) {
        try {
            return (int) eventSetFree.invokeExact(set);
        } catch (Throwable t) {
            throw badBinding("nvmlEventSetFree", t);
        }
    }
}
