package jlora.cu;

import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;

/**
 * Finds and opens NVIDIA's libraries, CUDA 12 or 13: in {@code JLORA_LIBRARY_PATH}, in {@code
 * LD_LIBRARY_PATH}, where the system's loader looks, and in the {@link LibraryFolders#usual usual
 * folders}, the first of these that has one. Each is opened once and stays open.
 */
public final class CudaLibraries {
    /** CUDA's versions are 1000 · major + 10 · minor. */
    private static final int VERSIONS_PER_MAJOR = 1000;

    private final LibraryFolders folders;
    private final Map<String, Optional<NativeLibrary>> opened = new ConcurrentHashMap<>();

    private CudaLibraries(LibraryFolders folders) {
        this.folders = folders;
    }

    /** The places that this process's environment names, and the usual ones. */
    public static CudaLibraries find() {
        return find(System.getenv());
    }

    /** The same for another environment. */
    public static CudaLibraries find(Map<String, String> environment) {
        return new CudaLibraries(LibraryFolders.of(environment));
    }

    /** One folder and no other place. */
    public static CudaLibraries in(Path folder) {
        return new CudaLibraries(LibraryFolders.only(folder));
    }

    /** True when there is a driver here, whether it can be opened or not. */
    public boolean hasDriver() {
        try {
            return open("libcuda.so.1").isPresent();
        } catch (MissingLibraryException e) {
            return true;
        }
    }

    /** The driver. */
    public NativeLibrary driver() {
        return require(
                List.of("libcuda.so.1"),
                "the NVIDIA driver is not installed here or not visible in this container; install"
                        + " it, or start the container with its GPUs (docker run --gpus all)");
    }

    /**
     * Matrix products, of the newest CUDA that the driver can run.
     *
     * @param driverVersion as the driver reports it: a driver of CUDA 12 cannot run libraries of 13
     */
    public NativeLibrary cublasLt(int driverVersion) {
        int major = driverVersion / VERSIONS_PER_MAJOR;
        if (major >= 13) {
            return require(
                    List.of("libcublasLt.so.13", "libcublasLt.so.12"),
                    "install the CUDA 13 toolkit or `pip install nvidia-cublas`, and name its lib"
                            + " folder in JLORA_LIBRARY_PATH if it is in an unusual place");
        }
        Optional<NativeLibrary> tooNew = open("libcublasLt.so.13");
        return require(
                List.of("libcublasLt.so.12"),
                tooNew.map(
                                        found ->
                                                found.path()
                                                        + " needs a driver of CUDA 13, and this one"
                                                        + " is of CUDA 12; update the driver, or ")
                                .orElse("")
                        + "install the CUDA 12 toolkit or `pip install nvidia-cublas-cu12`, and"
                        + " name its lib folder in JLORA_LIBRARY_PATH if it is in an unusual"
                        + " place");
    }

    /** The older interface of CUDA 12's matrix products, which JCublas calls. */
    public NativeLibrary cublas12() {
        // What it needs is opened from the same places: the system's loader may not know them.
        open("libcublasLt.so.12");
        return require(
                List.of("libcublas.so.12"),
                "install the CUDA 12 toolkit or `pip install nvidia-cublas-cu12`, and name its lib"
                        + " folder in JLORA_LIBRARY_PATH if it is in an unusual place");
    }

    /** Fused attention. */
    public NativeLibrary cudnn() {
        return require(
                List.of("libcudnn.so.9"),
                "install cuDNN 9 or `pip install nvidia-cudnn-cu13` (-cu12 for CUDA 12), and name"
                        + " its lib folder in JLORA_LIBRARY_PATH if it is in an unusual place");
    }

    /** Collective communication. */
    public NativeLibrary nccl() {
        return require(
                List.of("libnccl.so.2"),
                "install NCCL 2 or `pip install nvidia-nccl-cu13` (-cu12 for CUDA 12), and name its"
                        + " lib folder in JLORA_LIBRARY_PATH if it is in an unusual place");
    }

    /** The management library, which comes with the driver. */
    public NativeLibrary nvml() {
        return require(
                List.of("libnvidia-ml.so.1"),
                "it comes with the NVIDIA driver; in a container, set"
                        + " NVIDIA_DRIVER_CAPABILITIES=compute,utility");
    }

    private NativeLibrary require(List<String> names, String fix) {
        for (String name : names) {
            Optional<NativeLibrary> library = open(name);
            if (library.isPresent()) {
                return library.get();
            }
        }
        throw new MissingLibraryException(
                names.stream().collect(Collectors.joining(" or ")) + " was not found: " + fix);
    }

    private Optional<NativeLibrary> open(String name) {
        return opened.computeIfAbsent(name, this::search);
    }

    private Optional<NativeLibrary> search(String name) {
        for (Path folder : folders.named()) {
            Path file = folder.resolve(name);
            if (Files.exists(file)) {
                return Optional.of(open(name, file));
            }
        }
        if (!folders.system()) {
            return Optional.empty();
        }
        Optional<NativeLibrary> bySystem = bySystem(name);
        if (bySystem.isPresent()) {
            return bySystem;
        }
        return folders.usual().stream()
                .map(folder -> folder.resolve(name))
                .filter(Files::exists)
                .findFirst()
                .map(file -> open(name, file));
    }

    @SuppressWarnings("restricted")
    private static NativeLibrary open(String name, Path file) {
        try {
            return new NativeLibrary(name, file, SymbolLookup.libraryLookup(file, Arena.global()));
        } catch (IllegalArgumentException e) {
            throw new MissingLibraryException(
                    file
                            + " cannot be opened: it is damaged, built for another processor, or"
                            + " lacks a library beside it; install it again, or name another"
                            + " folder first in JLORA_LIBRARY_PATH",
                    e);
        }
    }

    @SuppressWarnings("restricted")
    private static Optional<NativeLibrary> bySystem(String name) {
        try {
            return Optional.of(
                    new NativeLibrary(
                            name, Path.of(name), SymbolLookup.libraryLookup(name, Arena.global())));
        } catch (IllegalArgumentException e) {
            return Optional.empty();
        }
    }
}
