package jlora.trainer.job;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.Resources;
import jlora.runtime.io.AtomicFile;
import jlora.runtime.io.Json;
import jlora.trainer.checkpoint.CheckpointFolder;
import jlora.trainer.checkpoint.ResumePoint;
import jlora.trainer.config.RunConfig;
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.LoggedSteps;
import jlora.trainer.metrics.MetricsHistory;
import jlora.trainer.metrics.MetricsReader;
import jlora.trainer.metrics.MetricsReport;
import jlora.trainer.metrics.MetricsWriter;
import jlora.trainer.metrics.ReportTargets;
import jlora.trainer.metrics.RunStart;
import jlora.trainer.metrics.StepListener;
import jlora.trainer.metrics.StepMetrics;
import jlora.trainer.metrics.TrainerStateWriter;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The records that a run writes as it goes: config.yaml, metrics.jsonl, trainer_state.json and the
 * reports that report_to names. They come with its first finished step, so that a run that fails in
 * it leaves nothing, and does not take an earlier run's place. A resumed run has steps behind it:
 * its records go on from those of the checkpoint, and what was logged after it is taken back.
 */
final class RunFiles implements StepListener, AutoCloseable {
    /** The records as they are at one step, for a checkpoint. */
    record Records(LoggedSteps.State log, byte[] trainerState, Path metrics, long metricsBytes) {}

    private final OutputFolder folder;
    private final RunConfig config;
    private final Optional<ResumePoint> resumed;
    private final MetricsHistory history = new MetricsHistory();
    private RunStart start;
    private MetricsWriter metrics;
    private List<MetricsReport> reports = List.of();
    private TrainerStateWriter state;
    private LoggedSteps files;

    RunFiles(OutputFolder folder, RunConfig config, Optional<ResumePoint> resumed) {
        this.folder = folder;
        this.config = config;
        this.resumed = resumed;
    }

    /** What was logged. */
    MetricsHistory history() {
        return history;
    }

    @Override
    public void started(RunStart start) {
        this.start = start;
        resumed.ifPresent(this::resume);
    }

    @Override
    public void step(StepMetrics step) {
        if (files == null) {
            folder.create();
            open(MetricsWriter.create(metricsFile()), LoggedSteps.State.NONE, start);
        }
        files.step(step);
    }

    private Path metricsFile() {
        return folder.path().resolve("metrics.jsonl");
    }

    private void resume(ResumePoint point) {
        folder.resume();
        try {
            AtomicFile.write(metricsFile(), Files.readAllBytes(point.metrics()));
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.CORRUPT_INPUT,
                    point.metrics() + ": cannot be read (" + Json.reason(e) + ")",
                    e);
        }
        LoggedSteps.State log = point.state().log();
        open(MetricsWriter.append(metricsFile()), log, start.withDoneTokensLess(log.tokens()));
        long best = point.state().progress().best().step();
        CheckpointFolder.in(folder.path()).stream()
                .filter(checkpoint -> checkpoint.step() == best)
                .forEach(checkpoint -> state.bestCheckpoint(checkpoint.path()));
    }

    private void open(MetricsWriter writer, LoggedSteps.State log, RunStart from) {
        AtomicFile.write(
                folder.path().resolve("config.yaml"),
                config.toYaml().getBytes(StandardCharsets.UTF_8));
        metrics = writer;
        state = new TrainerStateWriter(folder.path().resolve("trainer_state.json"));
        resumed.ifPresent(
                point -> {
                    MetricsReader.replay(point.metrics(), history);
                    MetricsReader.replay(point.metrics(), state);
                });
        reports = ReportTargets.open(config.output().reportTo(), folder.path());
        List<StepListener> targets = new ArrayList<>(List.of(metrics, state, history));
        targets.addAll(reports);
        files = new LoggedSteps(targets, log);
        files.started(from);
    }

    /** The records as of now. */
    Records records() {
        return new Records(files.state(), state.bytes(), metricsFile(), metrics.bytes());
    }

    /** Names the checkpoint of the best evaluation so far. */
    void bestCheckpoint(Path checkpoint) {
        state.bestCheckpoint(checkpoint);
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
        Resources owned = new Resources();
        reports.forEach(owned::own);
        if (metrics != null) {
            owned.own(metrics);
        }
        owned.close();
    }
}
