package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

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
}
