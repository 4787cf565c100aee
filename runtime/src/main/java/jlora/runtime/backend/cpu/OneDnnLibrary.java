package jlora.runtime.backend.cpu;

import jlora.runtime.JloraException;
import jlora.runtime.backend.UserCache;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * Finds and opens oneDNN and its OpenMP runtime, which travel in the jar {@code org.bytedeco:dnnl}
 * of the platform.
 */
final class OneDnnLibrary {
    private static final String LIBRARY = "libdnnl.so.3";
    static final String OPENMP = "libgomp.so.1";

    /** Both libraries, open until the process ends. */
    record Opened(SymbolLookup oneDnn, SymbolLookup openMp) {}

    private static Opened opened;

    private OneDnnLibrary() {}

    /** Empty when oneDNN can be opened here, else the sentence that says why not. */
    static Optional<String> missing() {
        Optional<String> platform = platform();
        if (platform.isEmpty()) {
            return Optional.of(
                    "oneDNN is not packaged for "
                            + System.getProperty("os.name")
                            + " on "
                            + System.getProperty("os.arch")
                            + ": use jlora's own vector products");
        }
        if (!UnpackedLibrary.isBundled(folder(platform.get()) + LIBRARY)) {
            return Optional.of(
                    "the jar org.bytedeco:dnnl with classifier "
                            + platform.get()
                            + " is not on the class path: add it, or use jlora's own vector"
                            + " products");
        }
        return Optional.empty();
    }

    /** Unpacks and opens the libraries once per process. */
    static synchronized Opened open() {
        if (opened == null) {
            missing()
                    .ifPresent(
                            sentence -> {
                                throw JloraException.usage(sentence);
                            });
            opened = load(folder(platform().orElseThrow()));
        }
        return opened;
    }

    @SuppressWarnings("restricted")
    private static Opened load(String resourceFolder) {
        try {
            Path folder =
                    UnpackedLibrary.unpack(
                            UserCache.folder(), "onednn", resourceFolder, List.of(LIBRARY, OPENMP));
            // OpenMP first and by path: oneDNN then finds it in memory, whatever else the system
            // offers by that name.
            SymbolLookup openMp =
                    SymbolLookup.libraryLookup(folder.resolve(OPENMP), Arena.global());
            return new Opened(
                    SymbolLookup.libraryLookup(folder.resolve(LIBRARY), Arena.global()), openMp);
        } catch (IOException e) {
            throw JloraException.usage(
                    "cannot unpack oneDNN ("
                            + e.getMessage()
                            + "): set XDG_CACHE_HOME to a folder that can be written, or use vector"
                            + " products");
        } catch (IllegalArgumentException e) {
            throw JloraException.usage(
                    "cannot open the unpacked oneDNN ("
                            + e.getMessage()
                            + "): set XDG_CACHE_HOME to a folder that may hold programs, or use"
                            + " vector products");
        }
    }

    /** Where that jar keeps its libraries. */
    static String folder(String platform) {
        return "org/bytedeco/dnnl/" + platform + "/";
    }

    /** The classifier of the jar for this platform. */
    static Optional<String> platform() {
        if (!System.getProperty("os.name").toLowerCase(Locale.ROOT).startsWith("linux")) {
            return Optional.empty();
        }
        return switch (System.getProperty("os.arch")) {
            case "amd64", "x86_64" -> Optional.of("linux-x86_64");
            case "aarch64", "arm64" -> Optional.of("linux-arm64");
            default -> Optional.empty();
        };
    }
}
