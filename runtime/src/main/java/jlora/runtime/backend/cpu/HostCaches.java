package jlora.runtime.backend.cpu;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

/** The caches of this machine's processors, as Linux lists them. */
final class HostCaches {
    private static final Path CPUS = Path.of("/sys/devices/system/cpu");

    private final Path cpus;

    /**
     * @param cpus a folder laid out as {@code /sys/devices/system/cpu}
     */
    HostCaches(Path cpus) {
        this.cpus = cpus;
    }

    static HostCaches ofThisMachine() {
        return new HostCaches(CPUS);
    }

    /** One cache: processors that share it list it each. */
    private record Cache(int level, String sharedBy) {}

    /** Bytes of all caches of the highest level; 0 where the system does not tell. */
    long lastLevelBytes() {
        Map<Cache, Long> sizes = new HashMap<>();
        try (DirectoryStream<Path> each = Files.newDirectoryStream(cpus, "cpu[0-9]*")) {
            for (Path cpu : each) {
                addCaches(cpu.resolve("cache"), sizes);
            }
        } catch (IOException e) {
            return 0; // Not Linux, or a container that hides it.
        }
        int last = sizes.keySet().stream().mapToInt(Cache::level).max().orElse(0);
        return sizes.entrySet().stream()
                .filter(e -> e.getKey().level == last)
                .mapToLong(Map.Entry::getValue)
                .sum();
    }

    private static void addCaches(Path folder, Map<Cache, Long> sizes) throws IOException {
        if (!Files.isDirectory(folder)) {
            return; // a processor that is switched off
        }
        try (DirectoryStream<Path> each = Files.newDirectoryStream(folder, "index[0-9]*")) {
            for (Path cache : each) {
                if (!read(cache, "type").equals("Instruction")) {
                    sizes.put(
                            new Cache(
                                    Integer.parseInt(read(cache, "level")),
                                    read(cache, "shared_cpu_list")),
                            bytes(read(cache, "size")));
                }
            }
        }
    }

    private static String read(Path cache, String file) throws IOException {
        return Files.readString(cache.resolve(file)).strip();
    }

    /** Such as {@code 32768K}; the kernel writes nothing but K, but its documentation names M. */
    private static long bytes(String size) {
        String digits = size.replaceAll("[^0-9]", "");
        long value = digits.isEmpty() ? 0 : Long.parseLong(digits);
        return switch (size.toUpperCase(Locale.ROOT).replaceAll("[0-9]", "")) {
            case "K" -> value << 10;
            case "M" -> value << 20;
            default -> value;
        };
    }
}
