package jlora.trainer.cli;

import jlora.cu.CudaLibraries;
import jlora.cu.MissingLibraryException;
import jlora.cu.NativeLibrary;
import jlora.cu.driver.DeviceInfo;
import jlora.cu.sys.LibraryVersion;
import jlora.cu.sys.MissingSymbolException;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cuda.CudaBackend;
import jlora.runtime.backend.cuda.CudaBinding;
import jlora.runtime.backend.cuda.CudaDevices;
import jlora.runtime.backend.cuda.KernelImages;
import jlora.trainer.job.Bytes;
import jlora.trainer.job.Device;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

import java.io.PrintWriter;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;

@Command(
        name = "doctor",
        description = "Shows what jlora found on this machine, and what is missing with the fix.",
        mixinStandardHelpOptions = true)
final class DoctorCommand implements Runnable {
    @Option(
            names = "--cuda-binding",
            paramLabel = "NAME",
            defaultValue = "panama",
            description = "Who calls the CUDA driver: panama or jcuda. Default: ${DEFAULT-VALUE}.")
    private String binding;

    @Spec private CommandSpec spec;

    @Override
    public void run() {
        line("jlora", VersionInfo.line());
        line("java home", System.getProperty("java.home"));
        line("memory a run can take", Bytes.text(Device.cpu().bytes()));
        line("Java heap", Bytes.text(Runtime.getRuntime().maxMemory()));
        try (Backend backend = new CpuBackend(CpuOptions.defaults())) {
            line("CPU backend", backend.describe());
        }
        cuda(CudaLibraries.find(), CudaBinding.valueOf(binding.toUpperCase(Locale.ROOT)));
    }

    private void cuda(CudaLibraries libraries, CudaBinding caller) {
        line("CUDA kernels", KernelImages.ofThisBuild().built());
        Optional<CudaDevices> devices = Optional.empty();
        int version = 13_000;
        try {
            CudaDevices found = CudaDevices.find(libraries, caller);
            version = found.driverVersion();
            devices = Optional.of(found);
            line(
                    "CUDA driver",
                    "for CUDA "
                            + CudaDevices.version(version)
                            + ", "
                            + libraries.driver().path()
                            + ", called by "
                            + caller.name().toLowerCase(Locale.ROOT));
        } catch (JloraException e) {
            line("CUDA driver", "not usable: " + e.getMessage());
        }
        int newest = version;
        library("cuBLASLt", () -> libraries.cublasLt(newest), LibraryVersion::cublasLt);
        library("cuDNN", libraries::cudnn, LibraryVersion::cudnn);
        library("NCCL", libraries::nccl, LibraryVersion::nccl);
        library("NVML", libraries::nvml, LibraryVersion::nvml);
        devices.ifPresent(
                found -> found.all().forEach(device -> device(libraries, caller, device)));
    }

    private void library(
            String name, Supplier<NativeLibrary> library, Function<NativeLibrary, String> version) {
        try {
            NativeLibrary found = library.get();
            line(name, (version.apply(found) + " " + found.path()).strip());
        } catch (MissingLibraryException | MissingSymbolException e) {
            line(name, "missing: " + e.getMessage());
        }
    }

    /** A device is opened as a run would open it, and closed again. */
    private void device(CudaLibraries libraries, CudaBinding caller, DeviceInfo device) {
        String name = "cuda:" + device.ordinal();
        String what = device.name() + ", " + device.architecture();
        try (CudaBackend backend = new CudaBackend(libraries, device.ordinal(), caller)) {
            line(
                    name,
                    what
                            + ", "
                            + Bytes.text(backend.freeBytes())
                            + " of "
                            + Bytes.text(device.totalBytes())
                            + " free, "
                            + Bytes.text(Device.of(backend).bytes())
                            + " for a run");
        } catch (JloraException e) {
            line(name, what + ", not usable: " + e.getMessage());
        }
    }

    private void line(String what, String found) {
        PrintWriter out = spec.commandLine().getOut();
        out.printf(Locale.ROOT, "%-24s%s%n", what, found);
        out.flush();
    }
}
