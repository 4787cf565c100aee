package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.cu.driver.CudaException;
import jlora.cu.sys.CudaDriverConstants;
import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cuda.Emulator;
import jlora.trainer.config.RunConfig;
import jlora.trainer.metrics.MetricsHistory;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Calls that fail in the course of a run: each ends it in one sentence, with nothing left behind.
 */
final class CudaFaultsTest {
    private final Emulator emulator = Emulator.open();
    private Emulator.Live before;

    @BeforeEach
    void remember() {
        before = emulator.live();
    }

    /** Three steps: one as it is, one recorded, one launched. */
    private static RunConfig config() {
        return CudaRuns.config("dtype=bfloat16", "max_steps=3", "packing=true", "max_length=32");
    }

    private void train() {
        try (Backend backend = emulator.backend();
                TrainJob job = CudaRuns.job(config())) {
            job.load(backend);
            job.train(new MetricsHistory());
            emulator.fail("", 0, 0);
            total = emulator.calls("");
        }
    }

    private long total;

    @ParameterizedTest
    @ValueSource(ints = {CudaDriverConstants.OUT_OF_MEMORY, CudaDriverConstants.LAUNCH_FAILED})
    void everyCallOfARunMayFail(int code) {
        emulator.resetCalls();
        train();
        long calls = total;
        assertEquals(before, emulator.live());
        assertTrue(calls > 100, calls + " calls");
        for (long call = 1; call <= calls; call++) {
            emulator.fail("", call, code);
            JloraException e =
                    assertThrows(
                            JloraException.class, this::train, "call " + call + " of " + calls);
            emulator.fail("", 0, 0);
            boolean memory = e.getCause() instanceof CudaException.OutOfMemory;
            assertEquals(
                    memory ? ExitCode.OUT_OF_MEMORY : ExitCode.GPU_FAULT,
                    e.exitCode(),
                    e.getMessage());
            assertEquals(0, e.getMessage().lines().count() - 1, e.getMessage());
            assertEquals(before, emulator.live(), "after call " + call + ": " + e.getMessage());
        }
    }

    @Test
    void lostDeviceEndsTheRunWithItsStep() {
        try (Backend backend = emulator.backend();
                TrainJob job = CudaRuns.job(config())) {
            job.load(backend);
            emulator.loseDevice(CudaDriverConstants.ECC_UNCORRECTABLE);
            JloraException e =
                    assertThrows(JloraException.class, () -> job.train(new MetricsHistory()));
            assertEquals(ExitCode.GPU_FAULT, e.exitCode());
            assertTrue(e.getMessage().startsWith("Step 1: the GPU failed"), e.getMessage());
            emulator.restoreDevice();
        }
        assertEquals(before, emulator.live());
    }
}
