package jlora.cu;

import java.io.File;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * Finds NVIDIA's libraries: in the folders of {@code JLORA_LIBRARY_PATH}, then those of {@code
 * LD_LIBRARY_PATH}, then by the system's loader, in the toolkit's usual folders, and in pip's
 * {@code nvidia/*}{@code /lib}.
 */
public final class CudaLibraries {
    private final List<Path> folders;
    private final boolean system;

    private CudaLibraries(List<Path> folders, boolean system) {
        this.folders = List.copyOf(folders);
        this.system = system;
    }

    /** The places that this process's environment names, and the usual ones. */
    public static CudaLibraries find() {
        return find(System.getenv());
    }

    static CudaLibraries find(Map<String, String> environment) {
        List<Path> folders = new ArrayList<>();
        for (String variable : List.of("JLORA_LIBRARY_PATH", "LD_LIBRARY_PATH")) {
            Stream.of(environment.getOrDefault(variable, "").split(File.pathSeparator))
                    .filter(folder -> !folder.isBlank())
                    .map(Path::of)
                    .forEach(folders::add);
        }
        return new CudaLibraries(folders, true);
    }

    /** One folder and no other place. */
    public static CudaLibraries in(Path folder) {
        return new CudaLibraries(List.of(folder), false);
    }

    /** The driver. */
    public NativeLibrary driver() {
        return open(
                List.of("libcuda.so.1"),
                "the NVIDIA driver is not installed on this machine, or is not visible in this"
                        + " container; install it, or start the container with GPUs");
    }

    /** The matrix products. */
    public NativeLibrary cublasLt() {
        return open(
                List.of("libcublasLt.so.13", "libcublasLt.so.12"),
                "install CUDA 12 or 13, or pip's nvidia-cublas, and name the folder in"
                        + " JLORA_LIBRARY_PATH");
    }

    @SuppressWarnings("restricted")
    private NativeLibrary open(List<String> names, String fix) {
        for (String name : names) {
            for (Path folder : folders) {
                Path file = folder.resolve(name);
                if (Files.exists(file)) {
                    return new NativeLibrary(
                            name, file, SymbolLookup.libraryLookup(file, Arena.global()));
                }
            }
            if (system) {
                try {
                    return new NativeLibrary(
                            name, Path.of(name), SymbolLookup.libraryLookup(name, Arena.global()));
                } catch (IllegalArgumentException e) {
                    // Not where the system's loader looks.
                }
            }
        }
        throw new MissingLibraryException(String.join(" or ", names) + " was not found: " + fix);
    }
}
