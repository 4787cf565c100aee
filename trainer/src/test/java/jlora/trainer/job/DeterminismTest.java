package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.tensor.DType;
import jlora.trainer.config.RunConfig;
import jlora.trainer.metrics.MetricsHistory;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The same seed and the same number of threads give the same bits: of losses, norms and the
 * adapter.
 */
class DeterminismTest {
    private static final Path PARITY = Path.of("src/test/resources/parity").toAbsolutePath();

    /**
     * A run of its own initial adapter, with everything random that training has: data order and
     * dropout.
     */
    private static long fingerprint(ProductLibrary products, DType dtype, long seed) {
        RunConfig config =
                RunConfig.load(
                        Optional.empty(),
                        List.of(
                                "model_name_or_path=" + PARITY.resolve("bases/llama_bias"),
                                "datasets=[{path: "
                                        + PARITY.resolve("llama_bias_all_linear/train.jsonl")
                                        + ", type: tokens}]",
                                "output_dir=unused",
                                "lora_target_modules=all-linear",
                                "dtype=" + dtype.torchName(),
                                "lora_dropout=0.1",
                                "per_device_train_batch_size=3",
                                "gradient_accumulation_steps=2",
                                "gradient_checkpointing=full",
                                "learning_rate=0.01",
                                "max_steps=6",
                                "seed=" + seed));
        try (Backend backend = new CpuBackend(new CpuOptions(2, products));
                TrainJob job = new TrainJob(config, Device.cpu().limitedTo(1L << 30), 2)) {
            job.load(backend);
            MetricsHistory history = new MetricsHistory();
            job.train(history);
            List<Object> bits = new ArrayList<>();
            history.steps().forEach(step -> bits.addAll(List.of(step.loss(), step.gradNorm())));
            job.session()
                    .adapter(job.model().blueprint().adapters().getFirst())
                    .modules()
                    .values()
                    .forEach(
                            pair -> {
                                bits.add(java.util.Arrays.hashCode(pair.a()));
                                bits.add(java.util.Arrays.hashCode(pair.b()));
                            });
            return bits.hashCode();
        }
    }

    @ParameterizedTest
    @CsvSource({"ONEDNN, F32", "VECTOR, F32", "ONEDNN, BF16", "VECTOR, BF16"})
    void twoRunsGiveTheSameBits(ProductLibrary products, DType dtype) {
        assertEquals(fingerprint(products, dtype, 7), fingerprint(products, dtype, 7));
    }

    @Test
    void theSeedDecides() {
        assertNotEquals(
                fingerprint(ProductLibrary.VECTOR, DType.F32, 7),
                fingerprint(ProductLibrary.VECTOR, DType.F32, 8));
    }

    /** What the other Java process runs. */
    static final class OtherRun {
        public static void main(String[] arguments) {
            System.out.println(fingerprint(ProductLibrary.AUTO, DType.F32, 7));
        }
    }

    /**
     * A fresh JVM has compiled nothing yet: interpreted and compiled kernels must agree to the bit.
     */
    @Test
    void anotherJvmGivesTheSameBits() throws IOException, InterruptedException {
        fingerprint(ProductLibrary.AUTO, DType.F32, 7);
        Process other =
                new ProcessBuilder(
                                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                                "--add-modules=jdk.incubator.vector",
                                "--enable-native-access=ALL-UNNAMED",
                                "-cp",
                                System.getProperty("java.class.path"),
                                OtherRun.class.getName())
                        .redirectError(ProcessBuilder.Redirect.DISCARD)
                        .start();
        String output =
                new String(other.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        assertEquals(0, other.waitFor());
        assertEquals(Long.toString(fingerprint(ProductLibrary.AUTO, DType.F32, 7)), output);
    }
}
