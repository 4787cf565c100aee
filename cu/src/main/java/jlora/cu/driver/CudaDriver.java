package jlora.cu.driver;

import jlora.cu.sys.CudaDriverApi;
import jlora.cu.sys.CudaDriverConstants;

import java.util.function.Function;
import java.util.function.Supplier;

/** An initialised driver: the raw calls with their status codes turned into exceptions. */
public final class CudaDriver {
    private final CudaDriverApi api;
    private final Function<CudaException, ? extends RuntimeException> failures;
    private final int version;

    private CudaDriver(
            CudaDriverApi api, Function<CudaException, ? extends RuntimeException> failures) {
        this.api = api;
        this.failures = failures;
        check("cuInit", api.cuInit(), "");
        int[] found = new int[1];
        check("cuDriverGetVersion", api.cuDriverGetVersion(found), "");
        this.version = found[0];
    }

    /**
     * Initialises the driver.
     *
     * @throws CudaException when it cannot: no device, no kernel module, driver and library differ
     */
    public static CudaDriver init(CudaDriverApi api) {
        return init(api, Function.identity());
    }

    /**
     * Initialises the driver for a caller with failures of its own.
     *
     * @param failures what every call that is refused throws, by what went wrong
     */
    public static CudaDriver init(
            CudaDriverApi api, Function<CudaException, ? extends RuntimeException> failures) {
        return new CudaDriver(api, failures);
    }

    public CudaDriverApi api() {
        return api;
    }

    /** The newest CUDA that the driver supports, as 1000 · major + 10 · minor. */
    public int version() {
        return version;
    }

    public int devices() {
        int[] count = new int[1];
        int status = api.cuDeviceGetCount(count);
        if (status == CudaDriverConstants.NO_DEVICE) {
            return 0;
        }
        check("cuDeviceGetCount", status, "");
        return count[0];
    }

    void check(String call, int status, String detail) {
        if (status != CudaDriverConstants.SUCCESS) {
            throw failed(call, status, detail);
        }
    }

    /** The same with a detail that costs something to put together. */
    void check(String call, int status, Supplier<String> detail) {
        if (status != CudaDriverConstants.SUCCESS) {
            throw failed(call, status, detail.get());
        }
    }

    /** What is thrown for a failure, in a library that works in this driver's contexts too. */
    public RuntimeException failure(CudaException failure) {
        return failures.apply(failure);
    }

    private RuntimeException failed(String call, int status, String detail) {
        String said = api.errorString(status);
        String what = detail.isEmpty() ? said : detail + ": " + said;
        return failure(
                CudaException.of(
                        new CudaException.Failure(call, status, api.errorName(status), what)));
    }
}
