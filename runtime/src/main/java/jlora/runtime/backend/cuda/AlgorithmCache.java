package jlora.runtime.backend.cuda;

import jlora.cu.cublas.MatmulAlgorithm;
import jlora.cu.driver.DeviceInfo;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.zip.CRC32;

/**
 * Which algorithm was chosen for which product, in one file per kind of GPU and version of the
 * library. The first process that writes a choice wins and all others take it from there, so that
 * runs on one cache give the same bits although each might time differently.
 *
 * <p>The file is text: a title, a checksum of the rest, then a shape and an algorithm a line. A
 * file that is anything else is ignored, and replaced by the next choice.
 */
final class AlgorithmCache {
    private static final String TITLE = "jlora matrix products 1";

    /** File locks are the process's; this one is between its threads. */
    private static final Object LOCK = new Object();

    private final Path file;
    private Map<String, MatmulAlgorithm> chosen;

    private AlgorithmCache(Path file) {
        this.file = file;
        this.chosen = read(file);
    }

    /**
     * @param version of the library, in one word
     */
    static AlgorithmCache open(Path folder, String version, DeviceInfo device) {
        String gpu = device.name() + "-" + device.multiprocessors() + "sm";
        String name = "products-" + version + "-" + gpu.replaceAll("[^A-Za-z0-9.]+", "-") + ".txt";
        return new AlgorithmCache(folder.resolve(name));
    }

    Path file() {
        return file;
    }

    Optional<MatmulAlgorithm> find(String shape) {
        return Optional.ofNullable(chosen.get(shape));
    }

    /** Whether a choice can be kept at all: asked before time is spent on one. */
    boolean writable() {
        try {
            lockFile().close();
            return true;
        } catch (IOException e) {
            return false;
        }
    }

    /**
     * Keeps a choice, unless another process kept a usable one since this cache was read: then that
     * one is the result.
     *
     * @throws IOException when the choice cannot be kept
     */
    MatmulAlgorithm keep(String shape, MatmulAlgorithm choice, Predicate<MatmulAlgorithm> usable)
            throws IOException {
        synchronized (LOCK) {
            // Closing the channel gives the lock back.
            try (FileChannel channel = lockFile()) {
                channel.lock();
                Map<String, MatmulAlgorithm> now = read(file);
                MatmulAlgorithm earlier = now.get(shape);
                if (earlier == null || !usable.test(earlier)) {
                    now.put(shape, choice);
                    write(now);
                }
                chosen = now;
                return now.get(shape);
            }
        }
    }

    private FileChannel lockFile() throws IOException {
        Files.createDirectories(file.getParent());
        return FileChannel.open(
                file.resolveSibling(file.getFileName() + ".lock"),
                StandardOpenOption.CREATE,
                StandardOpenOption.WRITE);
    }

    private void write(Map<String, MatmulAlgorithm> entries) throws IOException {
        StringBuilder lines = new StringBuilder();
        entries.forEach(
                (shape, algorithm) ->
                        lines.append(shape).append(' ').append(algorithm.code()).append('\n'));
        String text = TITLE + "\n" + checksum(lines.toString()) + "\n" + lines;
        Path half = Files.createTempFile(file.getParent(), file.getFileName().toString(), ".part");
        try {
            Files.writeString(half, text);
            Files.move(
                    half,
                    file,
                    StandardCopyOption.ATOMIC_MOVE,
                    StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(half);
        }
    }

    private static Map<String, MatmulAlgorithm> read(Path file) {
        try {
            return parse(Files.readString(file));
        } catch (NoSuchFileException e) {
            return new TreeMap<>();
        } catch (IOException | IllegalArgumentException e) {
            // Damaged, or of another version of jlora: every choice is made again.
            return new TreeMap<>();
        }
    }

    private static Map<String, MatmulAlgorithm> parse(String text) {
        List<String> parts = List.of(text.split("\n", 3));
        if (parts.size() != 3
                || !parts.get(0).equals(TITLE)
                || !parts.get(1).equals(checksum(parts.get(2)))) {
            throw new IllegalArgumentException("not a file of ours");
        }
        Map<String, MatmulAlgorithm> entries = new TreeMap<>();
        for (String line : parts.get(2).lines().toList()) {
            String[] words = line.split(" ");
            if (words.length != 2) {
                throw new IllegalArgumentException(line);
            }
            entries.put(words[0], new MatmulAlgorithm(words[1]));
        }
        return entries;
    }

    private static String checksum(String text) {
        CRC32 sum = new CRC32();
        sum.update(text.getBytes(StandardCharsets.UTF_8));
        return String.format("%08x", sum.getValue());
    }
}
