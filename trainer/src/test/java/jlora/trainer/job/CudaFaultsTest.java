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
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.MetricsHistory;
import jlora.trainer.metrics.RunStart;
import jlora.trainer.metrics.StepListener;
import jlora.trainer.metrics.StepMetrics;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Calls that fail in the course of a run: each ends it in one sentence, with nothing left behind.
 */
@Tag("emulator")
final class CudaFaultsTest {
    /**
     * Every so manieth call is made to fail: a run has about a thousand. {@code -Djlora.faults=1}
     * takes every one.
     */
    private static final int STRIDE = Integer.getInteger("jlora.faults", 23);

    private final Emulator emulator = Emulator.open();
    @TempDir private Path cache;
    private Emulator.Live before;

    @BeforeEach
    void remember() {
        before = emulator.live();
    }

    /** Three steps: one as it is, one recorded, one launched. */
    private static RunConfig config() {
        return CudaRuns.config("dtype=bfloat16", "max_steps=3", "lora_target_modules=[q_proj]");
    }

    /** Returns the calls that it made before closing anything. */
    private long train() {
        try (Backend backend = emulator.backend(cache);
                TrainJob job = CudaRuns.job(config())) {
            job.load(backend);
            job.train(new MetricsHistory());
            emulator.fail("", 0, 0);
            return emulator.calls("");
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {CudaDriverConstants.OUT_OF_MEMORY, CudaDriverConstants.LAUNCH_FAILED})
    void everyCallOfARunMayFail(int code) {
        train();
        emulator.resetCalls();
        long calls = train();
        assertEquals(before, emulator.live());
        assertTrue(calls > 100, calls + " calls");
        // An algorithm of products that cannot be had is no failure: another is taken.
        long tolerated = emulator.calls("cublasLtMatmulAlgoCheck");
        long survived = 0;
        for (long call = 1 + code % STRIDE; call <= calls; call += STRIDE) {
            emulator.fail("", call, code);
            try {
                train();
                survived++;
            } catch (JloraException e) {
                boolean memory = e.getCause() instanceof CudaException.OutOfMemory;
                assertEquals(
                        memory ? ExitCode.OUT_OF_MEMORY : ExitCode.GPU_FAULT,
                        e.exitCode(),
                        e.getMessage());
                assertEquals(1, e.getMessage().lines().count(), e.getMessage());
            }
            emulator.fail("", 0, 0);
            assertEquals(before, emulator.live(), "after call " + call + " of " + calls);
        }
        assertTrue(survived <= tolerated, survived + " of " + calls + " calls failed unseen");
    }

    @Test
    void lostDeviceEndsTheRunWithItsStep() {
        List<StepMetrics> told = new ArrayList<>();
        StepListener listener =
                new StepListener() {
                    @Override
                    public void started(RunStart start) {}

                    @Override
                    public void evaluated(EvalMetrics metrics) {}

                    @Override
                    public void finished() {}

                    @Override
                    public void step(StepMetrics metrics) {
                        told.add(metrics);
                        emulator.loseDevice(CudaDriverConstants.ECC_UNCORRECTABLE);
                    }
                };
        try (Backend backend = emulator.backend(cache);
                TrainJob job = CudaRuns.job(config())) {
            job.load(backend);
            try {
                JloraException e = assertThrows(JloraException.class, () -> job.train(listener));
                assertEquals(ExitCode.GPU_FAULT, e.exitCode());
                // Step 1 was told of when step 2 had been launched.
                assertTrue(e.getMessage().startsWith("Step 3: the GPU failed"), e.getMessage());
                assertEquals(1, told.size());
            } finally {
                emulator.restoreDevice();
            }
        }
        assertEquals(before, emulator.live());
    }
}
