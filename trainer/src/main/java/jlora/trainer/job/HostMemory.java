package jlora.trainer.job;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;

/** How much memory this process can still take without swapping. */
final class HostMemory {
    private static final Path MEMINFO = Path.of("/proc/meminfo");

    private HostMemory() {}

    /** The lesser of what the kernel calls available and what the container's limit leaves. */
    static long available() {
        var os =
                (com.sun.management.OperatingSystemMXBean)
                        ManagementFactory.getOperatingSystemMXBean();
        // Aware of container limits, but counts the page cache as used.
        long total = os.getTotalMemorySize();
        try {
            for (String line : Files.readAllLines(MEMINFO)) {
                if (line.startsWith("MemAvailable:")) {
                    long kib = Long.parseLong(line.replaceAll("[^0-9]", ""));
                    return Math.min(total, kib << 10);
                }
            }
        } catch (IOException e) {
            // Not Linux: the JVM's own figure serves.
        }
        return os.getFreeMemorySize();
    }
}
