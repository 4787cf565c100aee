package jlora.cu.cudnn;

import jlora.cu.NativeLibrary;
import jlora.cu.driver.CudaException;
import jlora.cu.sys.CudnnConstants;
import jlora.cu.sys.CudnnSys;

/** An opened cuDNN 9: the raw calls with their status codes turned into exceptions. */
public final class Cudnn {
    /** 9.10.2: 9.10.0 and 9.10.1 compute wrong attention gradients, older ones lack too much. */
    public static final int OLDEST = 91002;

    /** Statuses of one kind lie within a thousand. */
    private static final int CATEGORY = 1000;

    private final CudnnSys sys;
    private final int version;

    private Cudnn(CudnnSys sys) {
        this.sys = sys;
        this.version = Math.toIntExact(sys.cudnnGetVersion());
    }

    public static Cudnn open(NativeLibrary library) {
        return new Cudnn(new CudnnSys(library.symbols()));
    }

    /** 10000 · major + 100 · minor + patch: 92400 is 9.24.0. */
    public int version() {
        return version;
    }

    /** The version as people write it: {@code 9.24.0}. */
    public String versionText() {
        return text(version);
    }

    static String text(int version) {
        return version / 10000 + "." + version / 100 % 100 + "." + version % 100;
    }

    CudnnSys sys() {
        return sys;
    }

    void check(String call, int status, String detail) {
        if (status != CudnnConstants.CUDNN_STATUS_SUCCESS) {
            throw failed(call, status, detail);
        }
    }

    /** The same for a call that runs kernels: what they break stays broken. */
    void checkExecution(String call, int status, String detail) {
        if (status / CATEGORY * CATEGORY == CudnnConstants.CUDNN_STATUS_EXECUTION_FAILED) {
            throw new CudaException.ContextLost(failure(call, status, detail));
        }
        check(call, status, detail);
    }

    private CudaException failed(String call, int status, String detail) {
        CudaException.Failure failure = failure(call, status, detail);
        return switch (status) {
            case CudnnConstants.CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ->
                    new CudaException.OutOfMemory(failure);
            default -> new CudaException.CallFailed(failure);
        };
    }

    private CudaException.Failure failure(String call, int status, String detail) {
        return new CudaException.Failure(
                call, status, sys.cudnnGetErrorString(status), detail + ": " + lastError());
    }

    /** Why the last call of this thread failed with this status. */
    String reason(int status) {
        return sys.cudnnGetErrorString(status) + " (" + lastError() + ")";
    }

    private String lastError() {
        return sys.cudnnGetLastErrorString().strip();
    }
}
