package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.adapter.lora.LoraMerge;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Collective;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.backend.cuda.CudaBackend;
import jlora.runtime.backend.cuda.CudaBinding;
import jlora.runtime.model.Decoder;
import jlora.runtime.model.Model;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.CheckpointTensor;
import jlora.trainer.config.RunConfig;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.data.DataPosition;
import jlora.trainer.data.StepBatches;
import jlora.trainer.loop.TrainEngine;
import jlora.trainer.metrics.MetricsHistory;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** Whole runs of the CUDA backend, on the emulator. */
@Tag("emulator")
final class CudaTrainingTest extends EmulatedRuns {
    /** bf16 has 8 bits: losses near 5 differ where sums of rounded numbers do. */
    private static final double BF16_LOSS = 0.03;

    private static Backend cpu() {
        return new CpuBackend(new CpuOptions(2, ProductLibrary.VECTOR));
    }

    @Test
    void bf16FollowsTheCpu() {
        RunConfig config = CudaRuns.config("dtype=bfloat16");
        List<Double> expected;
        try (Backend cpu = cpu()) {
            expected = CudaRuns.losses(CudaRuns.train(config, cpu));
        }
        List<Double> got = CudaRuns.losses(CudaRuns.train(config, cuda));
        assertEquals(expected.size(), got.size());
        for (int i = 0; i < got.size(); i++) {
            assertEquals(expected.get(i), got.get(i), BF16_LOSS, "step " + (i + 1));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void stepIsOneLaunchOrOnePerMicroBatchAndOneForTheUpdate(int accumulation) {
        RunConfig config =
                CudaRuns.config("dtype=bfloat16", "gradient_accumulation_steps=" + accumulation);
        try (TrainJob job = CudaRuns.job(config)) {
            job.load(cuda);
            TrainEngine engine = job.engine();
            BatchSchedule data = job.data().training();
            // The same batches every time: batches of another size have plans of their own.
            StepBatches batches = data.step(DataPosition.START);
            for (int step = 1; step <= 5; step++) {
                emulator.resetCalls();
                engine.step(batches, 0.01);
                if (step > 2) {
                    int launches = accumulation == 1 ? 1 : accumulation + 1;
                    assertEquals(launches, emulator.calls("cuGraphLaunch"), "step " + step);
                    assertEquals(0, emulator.calls("cuLaunchKernel"), "step " + step);
                    assertEquals(0, emulator.calls("cuMemAlloc"), "step " + step);
                    assertEquals(0, emulator.calls("cuStreamSynchronize"), "step " + step);
                }
            }
            assertTrue(engine.nodes().stream().allMatch(n -> n > 0), engine.nodes().toString());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"float32", "bfloat16"})
    void twoRunsGiveTheSameBits(String dtype) {
        RunConfig config =
                CudaRuns.config(
                        "dtype=" + dtype, "lora_dropout=0.1", "gradient_accumulation_steps=2");
        assertEquals(CudaRuns.bits(config, cuda), CudaRuns.bits(config, cuda));
    }

    /**
     * Without a place to keep timed choices both libraries compute products as they propose first,
     * which in the emulator is the same way; everything else is the same kernels.
     */
    @Tag("cluster")
    @ParameterizedTest
    @ValueSource(strings = {"float32", "bfloat16"})
    void jcudaGivesTheBitsOfPanama(String dtype, @TempDir Path folder) throws IOException {
        RunConfig config =
                CudaRuns.config("dtype=" + dtype, "lora_dropout=0.1", "cuda_binding=jcuda");
        Path noFolder = Files.writeString(folder.resolve("occupied"), "");
        List<Object> expected;
        try (CudaBackend panama = emulator.backend(CudaBinding.PANAMA, noFolder)) {
            expected = CudaRuns.bits(config, panama);
        }
        try (CudaBackend jcuda = emulator.backend(config.model().cudaBinding(), noFolder)) {
            emulator.resetCalls();
            assertEquals(expected, CudaRuns.bits(config, jcuda));
            assertTrue(emulator.calls("cublasGemmEx") > 0);
            assertEquals(0, emulator.calls("cublasLtMatmul"));
            assertTrue(emulator.calls("cuGraphLaunch") > 0);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"float32", "bfloat16"})
    void recomputeChangesNoBit(String dtype) {
        RunConfig all = CudaRuns.config("dtype=" + dtype, "gradient_checkpointing=full");
        RunConfig none = CudaRuns.config("dtype=" + dtype, "gradient_checkpointing=none");
        assertEquals(CudaRuns.bits(none, cuda), CudaRuns.bits(all, cuda));
    }

    /** One rank that gathers from itself: in the captured step, as with several. */
    @ParameterizedTest
    @ValueSource(strings = {"float32", "bfloat16"})
    void gatheredLayersGiveTheBitsOfWholeOnes(String dtype) {
        for (String mode : List.of("none", "full")) {
            RunConfig config =
                    CudaRuns.config(
                            "shard_base=true",
                            "dtype=" + dtype,
                            "lora_dropout=0.1",
                            "gradient_checkpointing=" + mode,
                            "eval_split=0.2",
                            "eval_strategy=steps",
                            "eval_steps=2");
            List<Object> expected = CudaRuns.bits(config, cuda);
            emulator.resetCalls();
            assertEquals(expected, CudaRuns.bits(config, cuda, Optional.of(new OneRank(cuda))));
            assertTrue(emulator.calls("cuGraphLaunch") > 0);
        }
    }

    /** A group of one. */
    private record OneRank(Backend backend) implements Collective {
        @Override
        public int rank() {
            return 0;
        }

        @Override
        public int ranks() {
            return 1;
        }

        @Override
        public String describe() {
            return "one rank";
        }

        @Override
        public void sum(Tensor inPlace) {}

        @Override
        public void gather(Tensor whole, Tensor part) {
            backend.copy(whole, part);
        }

        @Override
        public void finish() {}

        @Override
        public void close() {}
    }

    @Tag("cluster")
    @Test
    void evaluationBetweenStepsChangesNone() {
        RunConfig plain = CudaRuns.config("dtype=float32", "eval_split=0.2");
        RunConfig evaluated =
                CudaRuns.config(
                        "dtype=float32", "eval_split=0.2", "eval_strategy=steps", "eval_steps=2");
        MetricsHistory alone = CudaRuns.train(plain, cuda);
        MetricsHistory between = CudaRuns.train(evaluated, cuda);
        assertEquals(CudaRuns.losses(alone), CudaRuns.losses(between));
        assertEquals(
                List.of(2L, 4L, 6L), between.evaluations().stream().map(e -> e.step()).toList());
        try (Backend cpu = cpu()) {
            MetricsHistory expected = CudaRuns.train(evaluated, cpu);
            for (int i = 0; i < 3; i++) {
                assertEquals(
                        expected.evaluations().get(i).loss(),
                        between.evaluations().get(i).loss(),
                        1e-4);
            }
        }
    }

    @Test
    void lossThatIsNotFiniteIsOfItsOwnStep() {
        RunConfig config = CudaRuns.config("dtype=float32", "learning_rate=1e18");
        JloraException expected;
        try (Backend cpu = cpu()) {
            expected = assertThrows(JloraException.class, () -> CudaRuns.train(config, cpu));
        }
        JloraException got = assertThrows(JloraException.class, () -> CudaRuns.train(config, cuda));
        assertEquals(ExitCode.NUMERICS, got.exitCode());
        String step = expected.getMessage().split(":")[0];
        assertTrue(got.getMessage().startsWith(step + ":"), got.getMessage());
    }

    @Test
    void mergesAndGivesEveryWeightBack() {
        try (TrainJob job = CudaRuns.job(CudaRuns.config("dtype=bfloat16"))) {
            job.load(cuda);
            job.train(new MetricsHistory());
            Map<String, List<Byte>> weights = weights(job.model().model());
            LoraAdapter adapter = job.model().blueprint().adapters().getFirst();
            try (LoraMerge merge = LoraMerge.merge(cuda, job.model().model(), adapter)) {
                assertNotEquals(weights, weights(job.model().model()));
                merge.unmerge();
            }
            assertEquals(weights, weights(job.model().model()));
        }
    }

    private Map<String, List<Byte>> weights(Model model) {
        Map<String, List<Byte>> weights = new TreeMap<>();
        for (CheckpointTensor tensor : model.weights().checkpoint()) {
            Tensor t = tensor.target();
            byte[] bytes = new byte[(int) t.elements() * t.dtype().bytes()];
            cuda.download(MemorySegment.ofArray(bytes), t);
            List<Byte> list = new ArrayList<>();
            for (byte b : bytes) {
                list.add(b);
            }
            weights.put(tensor.name(), list);
        }
        return weights;
    }

    @Test
    void generatesWhatTheCpuDoes() {
        RunConfig config = CudaRuns.config("dtype=float32");
        List<float[]> expected;
        try (Backend cpu = cpu()) {
            expected = logits(config, cpu);
        }
        List<float[]> got = logits(config, cuda);
        for (int i = 0; i < got.size(); i++) {
            assertArrayEquals(expected.get(i), got.get(i), 1e-3f, "token " + i);
        }
    }

    /** Logits after a prompt and after each of some tokens that follow. */
    private static List<float[]> logits(RunConfig config, Backend backend) {
        try (TrainJob job = CudaRuns.job(config)) {
            job.load(backend);
            List<float[]> logits = new ArrayList<>();
            try (Decoder decoder = new Decoder(backend, job.model().model(), 40, 0)) {
                logits.add(decoder.append(3, 1, 4, 1, 5, 9, 2, 6));
                for (int token = 10; token < 16; token++) {
                    logits.add(decoder.append(token));
                }
            }
            return logits;
        }
    }
}
