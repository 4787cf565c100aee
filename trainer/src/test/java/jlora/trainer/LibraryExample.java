package jlora.trainer;

import jlora.runtime.backend.Backend;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.Backends;
import jlora.trainer.job.TrainJob;
import jlora.trainer.metrics.MetricsHistory;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** The README's example of jlora as a library; {@link LibraryExampleTest} runs it. */
final class LibraryExample {
    private LibraryExample() {}

    static MetricsHistory train(Path model, Path rows, Path adapter) {
        RunConfig config =
                RunConfig.load(
                        Optional.empty(), // or a YAML file
                        List.of(
                                "model_name_or_path=" + model,
                                "datasets=[{path: " + rows + ", type: tokens}]",
                                "lora_target_modules=all-linear",
                                "learning_rate=5e-3",
                                "max_steps=20"));
        int threads = Backends.threads(config);
        try (Backend backend = Backends.open(config);
                TrainJob job = new TrainJob(config, Backends.device(config, backend), threads)) {
            System.out.println(job.plan().totalBytes() + " bytes, " + job.totalSteps() + " steps");
            job.requireFit(); // throws, saying what would fit, before any weight is read
            job.load(backend);
            MetricsHistory history = new MetricsHistory(); // or any StepListener
            job.train(history);
            job.save(adapter); // a PEFT folder
            return history;
        }
    }
}
