package jlora.cu.sys;

/** Values of {@code nvml.h} that jlora uses, by the header's names. */
public final class NvmlConstants {
    private NvmlConstants() {}

    public static final int NVML_SUCCESS = 0;
    public static final int NVML_ERROR_NOT_SUPPORTED = 3;
    public static final int NVML_ERROR_NOT_FOUND = 6;
    public static final int NVML_ERROR_DRIVER_NOT_LOADED = 9;
    public static final int NVML_ERROR_TIMEOUT = 10;
    public static final int NVML_ERROR_GPU_IS_LOST = 15;

    public static final int NVML_DEVICE_NAME_V2_BUFFER_SIZE = 96;
    public static final int NVML_DEVICE_UUID_V2_BUFFER_SIZE = 96;
    public static final int NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE = 80;

    public static final int NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1;
    public static final int NVML_VOLATILE_ECC = 0;
    public static final int NVML_TEMPERATURE_GPU = 0;

    public static final long nvmlEventTypeDoubleBitEccError = 2;
    public static final long nvmlEventTypeXidCriticalError = 8;
}
