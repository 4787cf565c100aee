package jlora.runtime.backend.cpu.mpi;

import jlora.runtime.JloraException;

import java.io.File;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.stream.Stream;

/** Finds and opens Open MPI; it stays open until the process ends. */
final class MpiLibrary {
    /** Of Open MPI 2 to 5. */
    private static final String OPEN_MPI = "libmpi.so.40";

    /** Of MPICH and what descends from it, such as Intel MPI. */
    private static final String OTHER = "libmpi.so.12";

    private static final String FIX =
            "install Open MPI (apt-get install openmpi-bin libopenmpi3), or name its lib folder in"
                    + " JLORA_LIBRARY_PATH";

    private MpiLibrary() {}

    /** The library that this process's environment leads to. */
    static MpiSys open() {
        return open(System.getenv());
    }

    static MpiSys open(Map<String, String> environment) {
        List<Path> folders = folders(environment);
        SymbolLookup symbols =
                find(OPEN_MPI, folders)
                        .orElseThrow(() -> missing(find(OTHER, folders).isPresent()));
        try {
            MpiSys mpi = new MpiSys(symbols);
            requireOpenMpi(mpi);
            return mpi;
        } catch (NoSuchElementException e) {
            throw JloraException.usage(
                    OPEN_MPI
                            + " is not Open MPI, whose names jlora calls ("
                            + e.getMessage()
                            + "); "
                            + FIX
                            + ".");
        }
    }

    private static JloraException missing(boolean other) {
        return JloraException.usage(
                other
                        ? "several workers on CPUs need Open MPI, but the MPI found here is MPICH"
                                + " or one of its kin ("
                                + OTHER
                                + "), whose handles are not those that jlora passes; "
                                + FIX
                                + "."
                        : "several workers on CPUs need Open MPI, but "
                                + OPEN_MPI
                                + " was not found; "
                                + FIX
                                + ".");
    }

    /** Others may offer the same file name. */
    private static void requireOpenMpi(MpiSys mpi) {
        String[] version = new String[1];
        int status = mpi.mpiGetLibraryVersion(version);
        if (status != MpiSys.MPI_SUCCESS || !version[0].startsWith("Open MPI")) {
            throw JloraException.usage(
                    "several workers on CPUs need Open MPI, but "
                            + OPEN_MPI
                            + " says that it is "
                            + version[0].lines().findFirst().orElse("something else")
                            + "; "
                            + FIX
                            + ".");
        }
    }

    private static List<Path> folders(Map<String, String> environment) {
        List<Path> folders = new ArrayList<>();
        for (String variable : List.of("JLORA_LIBRARY_PATH", "LD_LIBRARY_PATH")) {
            Stream.of(environment.getOrDefault(variable, "").split(File.pathSeparator))
                    .filter(path -> !path.isBlank())
                    .forEach(path -> folders.add(Path.of(path)));
        }
        for (String variable : List.of("OPAL_PREFIX", "MPI_HOME")) {
            Optional.ofNullable(environment.get(variable))
                    .ifPresent(home -> folders.add(Path.of(home, "lib")));
        }
        return folders;
    }

    private static Optional<SymbolLookup> find(String name, List<Path> folders) {
        for (Path folder : folders) {
            Path file = folder.resolve(name);
            if (Files.exists(file)) {
                return lookup(file.toAbsolutePath().toString());
            }
        }
        // The system's loader knows Debian's; Red Hat keeps it in a folder of its own.
        return lookup(name)
                .or(
                        () ->
                                Stream.of("/usr/lib64/openmpi/lib", "/opt/openmpi/lib")
                                        .map(folder -> Path.of(folder, name))
                                        .filter(Files::exists)
                                        .findFirst()
                                        .flatMap(file -> lookup(file.toString())));
    }

    @SuppressWarnings("restricted")
    private static Optional<SymbolLookup> lookup(String nameOrPath) {
        try {
            return Optional.of(
                    nameOrPath.startsWith("/")
                            ? SymbolLookup.libraryLookup(Path.of(nameOrPath), Arena.global())
                            : SymbolLookup.libraryLookup(nameOrPath, Arena.global()));
        } catch (IllegalArgumentException e) {
            return Optional.empty();
        }
    }
}
