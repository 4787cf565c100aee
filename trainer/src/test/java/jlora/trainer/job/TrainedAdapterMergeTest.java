package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import jlora.runtime.adapter.lora.LoraMerge;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.model.Model;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.CheckpointTensor;
import jlora.trainer.config.RunConfig;
import jlora.trainer.metrics.MetricsHistory;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/** Merging an adapter that was really trained, a thousand times, with nothing left behind. */
@Tag("cluster") // twenty seconds
class TrainedAdapterMergeTest {
    private static final Path SHARED = Path.of("../../shared");
    private static final int CYCLES = 1000;

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "BF16"})
    void thousandCyclesOfAnAdapterTrainedOnE2eLeaveEveryWeightAsItWas(DType dtype) {
        Path base = SHARED.resolve("models/stories260k");
        Path rows = SHARED.resolve("data/e2e/train.jsonl");
        assumeTrue(
                Files.exists(base) && Files.exists(rows),
                "stories260k and E2E are not beside the repository: nothing real to train on");
        RunConfig config =
                RunConfig.load(
                        Optional.empty(),
                        List.of(
                                "model_name_or_path=" + base,
                                "datasets=[{path: "
                                        + rows
                                        + ", type: prompt_completion, limit: 200}]",
                                "lora_target_modules=all-linear",
                                "dtype=" + dtype.torchName(),
                                "learning_rate=5e-3",
                                "max_steps=20"));
        try (Backend backend = new CpuBackend(CpuOptions.defaults());
                TrainJob job = new TrainJob(config, Device.cpu().limitedTo(1L << 30), 2)) {
            job.load(backend);
            job.train(new MetricsHistory());
            Model model = job.model().model();
            byte[] before = weights(backend, model);
            for (int cycle = 0; cycle < CYCLES; cycle++) {
                try (LoraMerge merge =
                        LoraMerge.merge(
                                backend, model, job.model().blueprint().adapters().getFirst())) {
                    if (cycle == 0) {
                        assertFalse(
                                Arrays.equals(before, weights(backend, model)),
                                "the merge must change the weights");
                        assertTrue(merge.cost().corrected() > 0, merge.cost().toString());
                        System.out.println(dtype + ": " + merge.cost());
                    }
                    merge.unmerge();
                }
                assertArrayEquals(before, weights(backend, model), "cycle " + cycle);
            }
        }
    }

    private static byte[] weights(Backend backend, Model model) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (CheckpointTensor tensor : model.weights().checkpoint()) {
            Tensor t = tensor.target();
            byte[] bytes = new byte[Math.toIntExact(t.elements() * t.dtype().bytes())];
            backend.download(MemorySegment.ofArray(bytes), t);
            all.writeBytes(bytes);
        }
        return all.toByteArray();
    }
}
