package jlora.trainer.data;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/**
 * The native Hugging Face tokenizers, out of the jar that carries them. DJL's own loader is not
 * used: it looks for GPUs through JNA, keeps caches in the user's home and would download other
 * builds. Here the library is unpacked into a private temporary folder, loaded, and deleted again;
 * nothing touches the network.
 */
final class TokenizerLibrary {
    private static final String RESOURCES = "native/lib/";

    private TokenizerLibrary() {}

    /** Loads the library on first use. */
    static TokenizersLibrary open() {
        return Holder.LIBRARY;
    }

    private static final class Holder {
        static final TokenizersLibrary LIBRARY = load();
    }

    @SuppressWarnings("restricted") // every jlora JVM runs with --enable-native-access
    private static TokenizersLibrary load() {
        String platform = platform(System.getProperty("os.name"), System.getProperty("os.arch"));
        String file = platform.startsWith("osx") ? "libtokenizers.dylib" : "libtokenizers.so";
        String resource = RESOURCES + platform + "/cpu/" + file;
        Path folder = null;
        try (InputStream in =
                TokenizersLibrary.class.getClassLoader().getResourceAsStream(resource)) {
            if (in == null) {
                throw JloraException.usage(
                        "The tokenizers library has no build for "
                                + platform
                                + " ("
                                + resource
                                + " is not on the class path); use data sets of type tokens there,"
                                + " or run on linux-x86_64, linux-aarch64 or osx-aarch64.");
            }
            folder = Files.createTempDirectory("jlora-tokenizers-");
            Path library = folder.resolve(file);
            Files.copy(in, library);
            System.load(library.toString());
            return TokenizersLibrary.LIB;
        } catch (IOException | UnsatisfiedLinkError e) {
            throw new JloraException(
                    ExitCode.USAGE,
                    "The tokenizers library could not be unpacked and loaded from "
                            + System.getProperty("java.io.tmpdir")
                            + " ("
                            + e.getMessage()
                            + "); point -Djava.io.tmpdir at a writable folder that may hold"
                            + " programs.",
                    e);
        } finally {
            delete(folder, file);
        }
    }

    // A loaded library stays mapped after its file is gone; a leftover is harmless, so failing here
    // is not an error.
    private static void delete(Path folder, String file) {
        if (folder != null) {
            try {
                Files.deleteIfExists(folder.resolve(file));
                Files.deleteIfExists(folder);
            } catch (IOException e) {
                folder.toFile().deleteOnExit();
            }
        }
    }

    static String platform(String osName, String osArch) {
        String os = osName.toLowerCase(Locale.ROOT);
        String system =
                os.startsWith("linux")
                        ? "linux"
                        : os.startsWith("mac") ? "osx" : os.startsWith("win") ? "win" : os;
        String arch =
                switch (osArch) {
                    case "amd64", "x86_64" -> "x86_64";
                    case "aarch64", "arm64" -> "aarch64";
                    default -> osArch;
                };
        return system + "-" + arch;
    }
}
