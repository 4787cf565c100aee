package jlora.cu.sys;

import jlora.cu.NativeLibrary;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/** What libraries say of their own version; none of these calls needs a device. */
public final class LibraryVersion {
    private LibraryVersion() {}

    /** Such as 13.1.1. */
    public static String cublasLt(NativeLibrary library) {
        long version = number(library, "cublasLtGetVersion");
        return version / 10_000 + "." + version / 100 % 100 + "." + version % 100;
    }

    /** Such as 9.14.0. */
    public static String cudnn(NativeLibrary library) {
        long version = number(library, "cudnnGetVersion");
        return version / 10_000 + "." + version / 100 % 100 + "." + version % 100;
    }

    /** Such as 2.28.3. */
    public static String nccl(NativeLibrary library) {
        MethodHandle get =
                new Downcalls(library.name(), library.symbols(), "NCCL 2")
                        .status("ncclGetVersion", Downcalls.POINTER);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment version = arena.allocate(Downcalls.INT);
            int status = (int) get.invokeExact(version);
            if (status != 0) {
                return "of unknown version";
            }
            int number = version.get(Downcalls.INT, 0);
            return number / 10_000 + "." + number / 100 % 100 + "." + number % 100;
        } catch (Throwable t) {
            throw new AssertionError("ncclGetVersion: bad binding", t);
        }
    }

    /** The driver's, such as 580.82.07, or what keeps NVML from it. */
    public static String nvml(NativeLibrary library) {
        NvmlSys nvml = new NvmlSys(library.symbols());
        int status = nvml.nvmlInit();
        if (status != NvmlConstants.NVML_SUCCESS) {
            return "without a driver (" + nvml.nvmlErrorString(status) + ")";
        }
        String[] version = new String[1];
        status = nvml.nvmlSystemGetDriverVersion(version);
        nvml.nvmlShutdown();
        return status == NvmlConstants.NVML_SUCCESS ? version[0] : "of unknown version";
    }

    private static long number(NativeLibrary library, String function) {
        MethodHandle get =
                new Downcalls(library.name(), library.symbols())
                        .function(function, FunctionDescriptor.of(Downcalls.LONG));
        try {
            return (long) get.invokeExact();
        } catch (Throwable t) {
            throw new AssertionError(function + ": bad binding", t);
        }
    }
}
