package jlora.trainer.metrics;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;

/** Memory of this process that is in RAM. */
public final class ResidentMemory {
    private static final Path STATUS = Path.of("/proc/self/status");

    private ResidentMemory() {}

    /** Bytes; empty on other systems than Linux. */
    public static OptionalLong bytes() {
        return read("VmRSS:");
    }

    /** The most bytes that there ever were; empty on other systems than Linux. */
    public static OptionalLong peak() {
        return read("VmHWM:");
    }

    private static OptionalLong read(String field) {
        try {
            for (String line : Files.readAllLines(STATUS)) {
                if (line.startsWith(field)) {
                    return OptionalLong.of(Long.parseLong(line.replaceAll("[^0-9]", "")) << 10);
                }
            }
        } catch (IOException e) {
            // Not Linux: nobody counts.
        }
        return OptionalLong.empty();
    }
}
