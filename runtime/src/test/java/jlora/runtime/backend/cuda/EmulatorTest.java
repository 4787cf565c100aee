package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.cu.nvml.Nvml;
import jlora.cu.nvml.NvmlDevice;
import jlora.cu.nvml.NvmlFaults;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * The emulator does what a GPU does, and tells what a GPU would suffer in silence: a C++ program of
 * its own holds it against that.
 */
final class EmulatorTest {
    @Test
    void behavesLikeADevice() throws IOException, InterruptedException {
        Emulator.open();
        Path program = Emulator.folder("emulator").resolve("selftest");
        Process process = new ProcessBuilder(program.toString()).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
    }

    @Test
    void seenByNvmlItIsTheSameDevice() {
        Emulator emulator = Emulator.open();
        try (CudaBackend backend = emulator.backend();
                Nvml nvml = Nvml.open(emulator.libraries().nvml())) {
            NvmlDevice device = nvml.deviceByPciBusId("0000:01:00.0");
            assertEquals(backend.device().name(), device.name());
            assertEquals(nvml.deviceByUuid(device.uuid()).name(), device.name());
            assertEquals(emulator.live().bytes(), device.memory().used());
            assertEquals(backend.freeBytes(), device.memory().free());
            assertEquals(0, device.uncorrectedEccErrors().orElseThrow());
            try (NvmlFaults faults = NvmlFaults.watch(nvml, List.of(device)).orElseThrow()) {
                assertEquals(Optional.empty(), faults.await(Duration.ZERO));
                emulator.reportXid(79);
                assertEquals(
                        Optional.of(79L), faults.await(Duration.ofSeconds(1)).orElseThrow().xid());
                assertEquals(Optional.empty(), faults.await(Duration.ofMillis(2)));
            }
        }
    }
}
