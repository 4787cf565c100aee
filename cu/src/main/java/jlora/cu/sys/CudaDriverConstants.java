package jlora.cu.sys;

/** Values from {@code cuda.h} that jlora uses; a test compares them with the header. */
public final class CudaDriverConstants {
    // CUresult
    public static final int SUCCESS = 0;
    public static final int INVALID_VALUE = 1;
    public static final int OUT_OF_MEMORY = 2;
    public static final int NOT_INITIALIZED = 3;
    public static final int DEINITIALIZED = 4;
    public static final int STUB_LIBRARY = 34;
    public static final int DEVICE_UNAVAILABLE = 46;
    public static final int NO_DEVICE = 100;
    public static final int INVALID_DEVICE = 101;
    public static final int INVALID_IMAGE = 200;
    public static final int INVALID_CONTEXT = 201;
    public static final int NO_BINARY_FOR_GPU = 209;
    public static final int ECC_UNCORRECTABLE = 214;
    public static final int INVALID_PTX = 218;
    public static final int UNSUPPORTED_PTX_VERSION = 222;
    public static final int NOT_FOUND = 500;
    public static final int NOT_READY = 600;
    public static final int ILLEGAL_ADDRESS = 700;
    public static final int LAUNCH_OUT_OF_RESOURCES = 701;
    public static final int LAUNCH_TIMEOUT = 702;
    public static final int ASSERT = 710;
    public static final int HARDWARE_STACK_ERROR = 714;
    public static final int ILLEGAL_INSTRUCTION = 715;
    public static final int MISALIGNED_ADDRESS = 716;
    public static final int INVALID_ADDRESS_SPACE = 717;
    public static final int INVALID_PC = 718;
    public static final int LAUNCH_FAILED = 719;
    public static final int SYSTEM_NOT_READY = 802;
    public static final int SYSTEM_DRIVER_MISMATCH = 803;
    public static final int UNKNOWN = 999;

    // CUdevice_attribute
    public static final int ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1;
    public static final int ATTRIBUTE_MULTIPROCESSOR_COUNT = 16;
    public static final int ATTRIBUTE_ECC_ENABLED = 32;
    public static final int ATTRIBUTE_PCI_BUS_ID = 33;
    public static final int ATTRIBUTE_PCI_DEVICE_ID = 34;
    public static final int ATTRIBUTE_PCI_DOMAIN_ID = 50;
    public static final int ATTRIBUTE_L2_CACHE_SIZE = 38;
    public static final int ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75;
    public static final int ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76;
    public static final int ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97;

    // CUfunction_attribute
    public static final int FUNC_SHARED_SIZE_BYTES = 1;
    public static final int FUNC_LOCAL_SIZE_BYTES = 3;
    public static final int FUNC_NUM_REGS = 4;
    public static final int FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;

    // flags
    public static final int STREAM_NON_BLOCKING = 1;
    public static final int STREAM_CAPTURE_MODE_THREAD_LOCAL = 1;
    public static final int EVENT_DEFAULT = 0;
    public static final int EVENT_DISABLE_TIMING = 2;
    public static final int MEMORYTYPE_HOST = 1;
    public static final int MEMORYTYPE_DEVICE = 2;

    private CudaDriverConstants() {}
}
