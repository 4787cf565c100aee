package jlora.trainer.job;

import jlora.runtime.StopRequest;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Collective;
import jlora.trainer.config.RunConfig;
import jlora.trainer.loop.AdapterValues;
import jlora.trainer.metrics.MetricsHistory;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/** Small training runs, to be had on any backend. */
public final class CudaRuns {
    private static final Path PARITY = Path.of("src/test/resources/parity").toAbsolutePath();

    private CudaRuns() {}

    /** Six steps of three sequences over a Llama of two layers, with everything random there is. */
    public static RunConfig config(String... settings) {
        List<String> words =
                new ArrayList<>(
                        List.of(
                                "model_name_or_path=" + PARITY.resolve("bases/llama_bias"),
                                "datasets=[{path: "
                                        + PARITY.resolve("llama_bias_all_linear/train.jsonl")
                                        + ", type: tokens}]",
                                "output_dir=unused",
                                "lora_target_modules=all-linear",
                                "per_device_train_batch_size=3",
                                "learning_rate=0.01",
                                "max_steps=6"));
        words.addAll(Arrays.asList(settings));
        return RunConfig.load(Optional.empty(), words);
    }

    static TrainJob job(RunConfig config) {
        return job(config, Optional.empty());
    }

    private static TrainJob job(RunConfig config, Optional<Collective> others) {
        return new TrainJob(config, Device.cpu().limitedTo(1L << 30), 1, new StopRequest(), others);
    }

    static MetricsHistory train(RunConfig config, Backend backend) {
        try (TrainJob job = job(config)) {
            job.load(backend);
            MetricsHistory history = new MetricsHistory();
            job.train(history);
            return history;
        }
    }

    static List<Double> losses(MetricsHistory history) {
        return history.steps().stream().map(s -> s.loss()).toList();
    }

    /** Every number that a run leaves behind, to the bit. */
    public static List<Object> bits(RunConfig config, Backend backend) {
        return bits(config, backend, Optional.empty());
    }

    /**
     * @param others that the run is shared with
     */
    static List<Object> bits(RunConfig config, Backend backend, Optional<Collective> others) {
        try (TrainJob job = job(config, others)) {
            job.load(backend);
            MetricsHistory history = new MetricsHistory();
            job.train(history);
            List<Object> bits = new ArrayList<>();
            history.evaluations().forEach(e -> bits.add(e.loss()));
            history.steps().forEach(step -> bits.addAll(List.of(step.loss(), step.gradNorm())));
            AdapterValues values =
                    job.session().adapter(job.model().blueprint().adapters().getFirst());
            values.modules()
                    .forEach(
                            (module, pair) ->
                                    bits.addAll(
                                            List.of(
                                                    module,
                                                    Arrays.hashCode(pair.a()),
                                                    Arrays.hashCode(pair.b()))));
            return bits;
        }
    }
}
