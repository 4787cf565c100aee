package jlora.runtime.backend.cpu;

import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URI;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.zip.CRC32;

/**
 * Native libraries out of a jar of the class path, as files side by side in a folder of the user's
 * cache. What is there already is used again when its size and checksum are those of the jar;
 * writing is atomic, so processes that start together do not disturb each other.
 */
final class UnpackedLibrary {
    private static final int BUFFER = 1 << 20;

    private UnpackedLibrary() {}

    /** True when the class path holds the resource. */
    static boolean isBundled(String resource) {
        return UnpackedLibrary.class.getClassLoader().getResource(resource) != null;
    }

    /**
     * The folder that holds the named resources of one resource folder; the first name must be on
     * the class path.
     */
    static Path unpack(Path cache, String label, String resourceFolder, List<String> names)
            throws IOException {
        URL first =
                UnpackedLibrary.class
                        .getClassLoader()
                        .getResource(resourceFolder + names.getFirst());
        if (first == null) {
            throw new IOException("no " + resourceFolder + names.getFirst() + " on the class path");
        }
        if (first.getProtocol().equals("file")) {
            return Path.of(URI.create(first.toString())).getParent();
        }
        if (!(first.openConnection() instanceof JarURLConnection connection)) {
            throw new IOException("cannot read " + first);
        }
        connection.setUseCaches(false);
        try (JarFile jar = connection.getJarFile()) {
            String mark = Long.toHexString(entry(jar, resourceFolder + names.getFirst()).getCrc());
            Path folder = folder(cache, label + "-" + mark);
            for (String name : names) {
                place(jar, entry(jar, resourceFolder + name), folder.resolve(name));
            }
            return folder;
        }
    }

    private static JarEntry entry(JarFile jar, String name) throws IOException {
        JarEntry entry = jar.getJarEntry(name);
        if (entry == null) {
            throw new IOException("no " + name + " in " + jar.getName());
        }
        return entry;
    }

    private static void place(JarFile jar, JarEntry entry, Path file) throws IOException {
        if (matches(entry, file)) {
            return;
        }
        Path half = Files.createTempFile(file.getParent(), file.getFileName().toString(), ".part");
        try {
            try (InputStream in = jar.getInputStream(entry)) {
                Files.copy(in, half, StandardCopyOption.REPLACE_EXISTING);
            }
            if (!matches(entry, half)) {
                throw new IOException(jar.getName() + " is damaged at " + entry.getName());
            }
            Files.move(half, file, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(half);
        }
    }

    private static boolean matches(JarEntry entry, Path file) throws IOException {
        if (!Files.isRegularFile(file) || Files.size(file) != entry.getSize()) {
            return false;
        }
        CRC32 sum = new CRC32();
        byte[] buffer = new byte[BUFFER];
        try (InputStream in = Files.newInputStream(file)) {
            for (int n = in.read(buffer); n > 0; n = in.read(buffer)) {
                sum.update(buffer, 0, n);
            }
        }
        return sum.getValue() == entry.getCrc();
    }

    /** A folder in the cache; one of this process alone where the cache cannot be written. */
    private static Path folder(Path cache, String name) throws IOException {
        Path folder = cache.resolve(name);
        try {
            Files.createDirectories(folder);
            if (Files.isWritable(folder)) {
                return folder;
            }
        } catch (IOException e) {
            // A read-only or missing home: every process unpacks for itself, in under a second.
        }
        Path own = Files.createTempDirectory("jlora-" + name);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(own)));
        return own;
    }

    private static void delete(Path folder) {
        try (var files = Files.list(folder)) {
            for (Path file : files.toList()) {
                Files.deleteIfExists(file);
            }
            Files.deleteIfExists(folder);
        } catch (IOException e) {
            // The folder is in the system's temporary place, which cleans up after us.
        }
    }
}
