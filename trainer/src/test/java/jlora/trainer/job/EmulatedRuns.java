package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.runtime.backend.cuda.CudaBackend;
import jlora.runtime.backend.cuda.Emulator;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/** A backend on the emulator for each test, which leaves nothing behind and writes where it may. */
abstract class EmulatedRuns {
    Emulator emulator;
    CudaBackend cuda;
    private Emulator.Live before;

    @BeforeEach
    void open() {
        emulator = Emulator.open();
        before = emulator.live();
        cuda = emulator.backend();
    }

    @AfterEach
    void close() {
        if (cuda != null) {
            cuda.close();
            assertEquals(before, emulator.live());
            assertEquals("", emulator.brokenGuards());
        }
    }
}
