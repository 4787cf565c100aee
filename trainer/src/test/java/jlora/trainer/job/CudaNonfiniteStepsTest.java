package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cuda.Emulator;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;

/** {@link NonfiniteSteps} of the CUDA backend, on the emulator. */
@Tag("emulator")
final class CudaNonfiniteStepsTest extends NonfiniteSteps {
    private final Emulator emulator = Emulator.open();
    private Emulator.Live before;

    @BeforeEach
    void remember() {
        before = emulator.live();
    }

    @AfterEach
    void nothingIsLeft() {
        assertEquals(before, emulator.live());
        assertEquals("", emulator.brokenGuards());
    }

    @Override
    Backend backend() {
        return emulator.backend();
    }
}
