package jlora.runtime.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

class HostCachesTest {
    @TempDir private Path cpus;

    private void cache(int cpu, int index, String level, String type, String size, String shared)
            throws IOException {
        Path folder = Files.createDirectories(cpus.resolve("cpu" + cpu + "/cache/index" + index));
        Files.writeString(folder.resolve("level"), level + "\n");
        Files.writeString(folder.resolve("type"), type + "\n");
        Files.writeString(folder.resolve("size"), size + "\n");
        Files.writeString(folder.resolve("shared_cpu_list"), shared + "\n");
    }

    /** Four processors, two by two behind an L3 each. */
    @Test
    void everyInstanceOfTheLastLevelCountsOnce() throws IOException {
        for (int cpu = 0; cpu < 4; cpu++) {
            cache(cpu, 0, "1", "Data", "32K", "" + cpu);
            cache(cpu, 1, "1", "Instruction", "64K", "" + cpu);
            cache(cpu, 2, "2", "Unified", "1024K", "" + cpu);
            cache(cpu, 3, "3", "Unified", "16M", cpu < 2 ? "0-1" : "2-3");
        }
        Files.createDirectories(cpus.resolve("cpufreq"));
        Files.createDirectories(cpus.resolve("cpu4")); // switched off
        assertEquals(32L << 20, new HostCaches(cpus).lastLevelBytes());
    }

    @Test
    void whereNobodyTellsItIsZero() {
        assertEquals(0, new HostCaches(cpus).lastLevelBytes());
        assertEquals(0, new HostCaches(cpus.resolve("none")).lastLevelBytes());
    }
}
