package jlora.cu.sys;

/** Values of {@code nccl.h} that jlora uses, by the header's names. */
public final class NcclConstants {
    private NcclConstants() {}

    public static final int NCCL_UNIQUE_ID_BYTES = 128;

    public static final int ncclSuccess = 0;
    public static final int ncclUnhandledCudaError = 1;
    public static final int ncclSystemError = 2;
    public static final int ncclInternalError = 3;
    public static final int ncclInvalidArgument = 4;
    public static final int ncclInvalidUsage = 5;
    public static final int ncclRemoteError = 6;
    public static final int ncclInProgress = 7;

    public static final int ncclUint8 = 1;
    public static final int ncclInt32 = 2;
    public static final int ncclInt64 = 4;
    public static final int ncclFloat32 = 7;
    public static final int ncclBfloat16 = 9;

    public static final int ncclSum = 0;
}
