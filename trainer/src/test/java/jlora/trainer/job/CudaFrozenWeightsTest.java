package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.trainer.config.RunConfig;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.data.DataPosition;
import jlora.trainer.data.StepBatches;
import jlora.trainer.loop.AdapterValues;
import jlora.trainer.loop.TrainEngine;
import jlora.trainer.metrics.MetricsHistory;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.util.List;

/** Runs over quantised weights, and over weights in host memory, of the CUDA backend. */
@Tag("emulator")
final class CudaFrozenWeightsTest extends EmulatedRuns {
    private record Trained(List<Double> losses, AdapterValues adapter) {}

    private static Trained train(RunConfig config, Backend backend) {
        try (TrainJob job = CudaRuns.job(config)) {
            job.load(backend);
            MetricsHistory history = new MetricsHistory();
            job.train(history);
            return new Trained(
                    CudaRuns.losses(history),
                    job.session().adapter(job.model().blueprint().adapters().getFirst()));
        }
    }

    @Test
    void fourBitsFollowTheCpu() {
        RunConfig config = CudaRuns.config("dtype=float32", "load_in_4bit=true");
        Trained expected;
        try (Backend cpu = new CpuBackend(new CpuOptions(2, ProductLibrary.VECTOR))) {
            expected = train(config, cpu);
        }
        Trained got = train(config, cuda);
        for (int i = 0; i < got.losses.size(); i++) {
            assertEquals(expected.losses.get(i), got.losses.get(i), 1e-4, "step " + (i + 1));
        }
    }

    /**
     * Sums differ in their order, so here and there an activation gets the next code, and the steps
     * after it go on from there.
     */
    @Test
    void fp8FollowsTheCpu() {
        RunConfig config = CudaRuns.config("dtype=float32", "weight_dtype=fp8");
        Trained expected;
        try (Backend cpu = new CpuBackend(new CpuOptions(2, ProductLibrary.VECTOR))) {
            expected = train(config, cpu);
        }
        Trained got = train(config, cuda);
        for (int i = 0; i < got.losses.size(); i++) {
            double most = i == 0 ? 5e-3 : 0.03;
            assertEquals(expected.losses.get(i), got.losses.get(i), most, "step " + (i + 1));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"load_in_4bit=false", "load_in_4bit=true"})
    void weightsInHostMemoryTrainToTheSameBits(String bits) {
        Trained device = train(CudaRuns.config("dtype=bfloat16", bits), cuda);
        Trained host = train(CudaRuns.config("dtype=bfloat16", bits, "offload=host"), cuda);
        assertEquals(device.losses, host.losses);
        device.adapter
                .modules()
                .forEach(
                        (module, pair) -> {
                            AdapterValues.Pair other = host.adapter.modules().get(module);
                            assertArrayEquals(pair.a(), other.a(), module);
                            assertArrayEquals(pair.b(), other.b(), module);
                        });
    }

    /** Random weights pass through the device on their way to the host. */
    @ParameterizedTest
    @ValueSource(strings = {"load_in_4bit=false", "load_in_4bit=true"})
    void randomWeightsAreTheSameInHostMemory(String bits) {
        String random = "random_init=true";
        Trained device = train(CudaRuns.config("dtype=bfloat16", random, bits), cuda);
        Trained host = train(CudaRuns.config("dtype=bfloat16", random, bits, "offload=host"), cuda);
        assertEquals(device.losses, host.losses);
    }

    @ParameterizedTest
    @ValueSource(strings = {"load_in_4bit=true", "offload=host", "weight_dtype=fp8"})
    void stepIsOneLaunchOfAGraphThatFillsScratchBesideTheProducts(String storage) {
        try (TrainJob job = CudaRuns.job(CudaRuns.config("dtype=bfloat16", storage))) {
            job.load(cuda);
            TrainEngine engine = job.engine();
            BatchSchedule data = job.data().training();
            StepBatches batches = data.step(DataPosition.START);
            for (int step = 1; step <= 4; step++) {
                emulator.resetCalls();
                engine.step(batches, 0.01);
                if (step == 2) {
                    // Captured: each expansion is a fork and a join.
                    assertTrue(emulator.calls("cuStreamWaitEvent") > 8);
                }
                if (step > 2) {
                    assertEquals(1, emulator.calls("cuGraphLaunch"), "step " + step);
                    assertEquals(0, emulator.calls("cuLaunchKernel"), "step " + step);
                }
            }
        }
    }
}
