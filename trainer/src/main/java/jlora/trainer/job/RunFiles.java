package jlora.trainer.job;

import jlora.runtime.io.AtomicFile;
import jlora.trainer.config.RunConfig;
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.LoggedSteps;
import jlora.trainer.metrics.MetricsHistory;
import jlora.trainer.metrics.MetricsWriter;
import jlora.trainer.metrics.RunStart;
import jlora.trainer.metrics.StepListener;
import jlora.trainer.metrics.StepMetrics;
import jlora.trainer.metrics.TrainerStateWriter;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;

/**
 * The records that a run writes as it goes: config.yaml, metrics.jsonl, trainer_state.json. They
 * come with its first finished step, so that a run that fails in it leaves nothing, and does not
 * take an earlier run's place.
 */
final class RunFiles implements StepListener, AutoCloseable {
    private final OutputFolder folder;
    private final RunConfig config;
    private final MetricsHistory history = new MetricsHistory();
    private RunStart start;
    private MetricsWriter metrics;
    private StepListener files;

    RunFiles(OutputFolder folder, RunConfig config) {
        this.folder = folder;
        this.config = config;
    }

    /** What was logged. */
    MetricsHistory history() {
        return history;
    }

    @Override
    public void started(RunStart start) {
        this.start = start;
    }

    @Override
    public void step(StepMetrics step) {
        if (files == null) {
            create();
        }
        files.step(step);
    }

    private void create() {
        folder.create();
        Path path = folder.path();
        AtomicFile.write(
                path.resolve("config.yaml"), config.toYaml().getBytes(StandardCharsets.UTF_8));
        metrics = MetricsWriter.create(path.resolve("metrics.jsonl"));
        files =
                new LoggedSteps(
                        List.of(
                                metrics,
                                new TrainerStateWriter(path.resolve("trainer_state.json")),
                                history));
        files.started(start);
    }

    @Override
    public void evaluated(EvalMetrics evaluation) {
        files.evaluated(evaluation);
    }

    @Override
    public void finished() {
        if (files != null) {
            files.finished();
        }
    }

    @Override
    public void close() {
        if (metrics != null) {
            metrics.close();
        }
    }
}
