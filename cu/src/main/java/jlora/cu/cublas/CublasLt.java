package jlora.cu.cublas;

import jlora.cu.NativeLibrary;
import jlora.cu.driver.CudaDriver;
import jlora.cu.driver.CudaException;
import jlora.cu.sys.CublasLtConstants;
import jlora.cu.sys.CublasLtSys;

import java.util.function.Supplier;

/** A handle of cuBLASLt in the current context: the raw calls, checked. */
final class CublasLt implements AutoCloseable {
    private final NativeLibrary library;
    private final CudaDriver driver;
    private final CublasLtSys sys;
    private final long version;
    private long handle;

    private CublasLt(NativeLibrary library, CudaDriver driver) {
        this.library = library;
        this.driver = driver;
        this.sys = new CublasLtSys(library.symbols());
        this.version = sys.cublasLtGetVersion();
        long[] created = new long[1];
        check("cublasLtCreate", sys.cublasLtCreate(created), library.path().toString());
        this.handle = created[0];
    }

    /**
     * @param driver of the current context
     * @throws CudaException when the library cannot work with the current context
     */
    static CublasLt open(NativeLibrary library, CudaDriver driver) {
        return new CublasLt(library, driver);
    }

    CublasLtSys sys() {
        return sys;
    }

    long handle() {
        if (handle == 0) {
            throw new IllegalStateException("the handle of " + library.name() + " is closed");
        }
        return handle;
    }

    /** As the library counts: 130101 for 13.1.1. */
    long version() {
        return version;
    }

    void check(String call, int status, String detail) {
        check(call, status, () -> detail);
    }

    /** The detail is put together only when the call failed. */
    void check(String call, int status, Supplier<String> detail) {
        if (status != CublasLtConstants.CUBLAS_STATUS_SUCCESS) {
            String said = sys.cublasLtGetStatusString(status);
            CudaException.Failure failure =
                    new CudaException.Failure(
                            call,
                            status,
                            sys.cublasLtGetStatusName(status),
                            detail.get() + ": " + said);
            throw driver.failure(CublasFailures.of(failure));
        }
    }

    @Override
    public void close() {
        if (handle != 0) {
            long destroyed = handle;
            handle = 0;
            check("cublasLtDestroy", sys.cublasLtDestroy(destroyed), library.name());
        }
    }
}
