package jlora.runtime.backend.cuda;

import jlora.cu.CudaLibraries;
import jlora.cu.MissingLibraryException;
import jlora.cu.driver.CudaDriver;
import jlora.cu.driver.DeviceInfo;
import jlora.cu.sys.MissingSymbolException;
import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import java.util.List;
import java.util.stream.IntStream;

/**
 * The GPUs of this machine, as the driver lists them. What is missing for one to be used is one
 * sentence with the fix: exit code 2.
 */
public final class CudaDevices {
    /** The oldest CUDA whose driver has the calls that jlora makes. */
    private static final int OLDEST_DRIVER = 12_000;

    private static final String TOO_OLD = "the NVIDIA driver is too old: ";
    private static final String FIX =
            ", and jlora needs one for CUDA 12 or newer; update it to 525 or newer";

    private final CudaDriver driver;

    private CudaDevices(CudaDriver driver) {
        this.driver = driver;
    }

    /** Initialises the driver. */
    public static CudaDevices find(CudaLibraries libraries, CudaBinding binding) {
        CudaDriver driver;
        try {
            driver = CudaDriver.init(binding.open(libraries.driver()), CudaFaults::of);
        } catch (MissingLibraryException e) {
            throw CudaFaults.missing(e);
        } catch (MissingSymbolException e) {
            throw new JloraException(ExitCode.USAGE, TOO_OLD + e.getMessage() + FIX, e);
        }
        if (driver.version() < OLDEST_DRIVER) {
            throw JloraException.usage(
                    TOO_OLD + "it supports CUDA " + version(driver.version()) + FIX);
        }
        return new CudaDevices(driver);
    }

    /** A version as CUDA counts them, such as 12040, in words. */
    public static String version(int version) {
        return version / 1000 + "." + version % 1000 / 10;
    }

    CudaDriver driver() {
        return driver;
    }

    /** The newest CUDA that the driver supports, such as 13000. */
    public int driverVersion() {
        return driver.version();
    }

    public List<DeviceInfo> all() {
        return IntStream.range(0, driver.devices())
                .mapToObj(i -> DeviceInfo.of(driver, i))
                .toList();
    }

    /** The device of this number, which must be there and have kernels. */
    DeviceInfo require(int ordinal) {
        int devices = driver.devices();
        if (devices == 0) {
            throw CudaFaults.noDevice(null);
        }
        if (ordinal >= devices) {
            throw JloraException.usage(
                    "there is no device number "
                            + ordinal
                            + ": this machine has "
                            + (devices == 1
                                    ? "one GPU, cuda:0"
                                    : "GPUs cuda:0 to cuda:" + (devices - 1))
                            + "; choose one of them");
        }
        DeviceInfo device = DeviceInfo.of(driver, ordinal);
        KernelImages.ofThisBuild().require(device);
        return device;
    }
}
