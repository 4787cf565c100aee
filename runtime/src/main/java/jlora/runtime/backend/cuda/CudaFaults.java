package jlora.runtime.backend.cuda;

import jlora.cu.MissingLibraryException;
import jlora.cu.driver.CudaException;
import jlora.cu.sys.CudaDriverConstants;
import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

/** What a refused CUDA call means to a user: the one place where such a failure gets its words. */
final class CudaFaults {
    private CudaFaults() {}

    static JloraException of(CudaException failure) {
        return switch (failure) {
            case CudaException.OutOfMemory _ ->
                    new JloraException(
                            ExitCode.OUT_OF_MEMORY,
                            "the GPU has not enough free memory ("
                                    + failure.failure().detail()
                                    + "); end other programs that use it (nvidia-smi lists them),"
                                    + " or set memory_limit so that the plan is made for less",
                            failure);
            case CudaException.ContextLost _ ->
                    new JloraException(ExitCode.GPU_FAULT, lost(failure.failure()), failure);
            case CudaException.CallFailed _ -> refused(failure);
        };
    }

    /** A library that is not there, or of the wrong version. */
    static JloraException missing(MissingLibraryException e) {
        return new JloraException(ExitCode.USAGE, e.getMessage(), e);
    }

    static JloraException noDevice(CudaException cause) {
        return new JloraException(
                ExitCode.USAGE,
                "the NVIDIA driver finds no GPU on this machine; check nvidia-smi and"
                        + " CUDA_VISIBLE_DEVICES, or start the container with its GPUs (docker run"
                        + " --gpus all)",
                cause);
    }

    private static JloraException refused(CudaException failure) {
        return switch (failure.failure().code()) {
            case CudaDriverConstants.NO_DEVICE -> noDevice(failure);
            case CudaDriverConstants.STUB_LIBRARY ->
                    new JloraException(
                            ExitCode.USAGE,
                            "libcuda.so.1 is the CUDA toolkit's stub and not the NVIDIA driver;"
                                    + " take the toolkit's lib/stubs off LD_LIBRARY_PATH",
                            failure);
            case CudaDriverConstants.SYSTEM_DRIVER_MISMATCH ->
                    new JloraException(
                            ExitCode.USAGE,
                            "the NVIDIA driver's library and its kernel module are of different"
                                    + " versions; restart the machine, or load the module again",
                            failure);
            default ->
                    new JloraException(
                            ExitCode.GPU_FAULT,
                            "the GPU refused a call ("
                                    + failure.failure()
                                    + "); jlora doctor shows what was found on this machine",
                            failure);
        };
    }

    private static String lost(CudaException.Failure failure) {
        String fix =
                switch (failure.code()) {
                    case CudaDriverConstants.ECC_UNCORRECTABLE ->
                            "its memory has an error that ECC could not correct; have it reset or"
                                    + " replaced, nvidia-smi -q shows the counts";
                    case CudaDriverConstants.DEVICE_UNAVAILABLE ->
                            "another program holds it for itself; end that, or choose another"
                                    + " device";
                    default ->
                            "its kernel log line (dmesg, look for Xid) says why; nothing of the run"
                                    + " on the device can be used again, so start it anew";
                };
        return "the GPU failed (" + failure + "): " + fix;
    }
}
