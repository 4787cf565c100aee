package jlora.trainer.job;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.StopRequest;
import jlora.runtime.backend.Backend;
import jlora.trainer.checkpoint.ResumePoint;
import jlora.trainer.config.RunConfig;
import jlora.trainer.config.SaveStrategy;
import jlora.trainer.launch.Ranks;
import jlora.trainer.loop.Checkpointer;
import jlora.trainer.loop.Progress;
import jlora.trainer.loop.TrainLoop;
import jlora.trainer.loop.Watchdog;
import jlora.trainer.metrics.RunLog;
import jlora.trainer.metrics.RunPhase;

import java.nio.file.Path;
import java.util.Optional;
import java.util.function.Consumer;

/** A worker beside the first: the same run in the same order, without words and without files. */
final class FollowerRun {
    private final RunConfig config;
    private final Ranks ranks;
    private final StopRequest stop;
    private final Consumer<String> hang;

    FollowerRun(RunConfig config, Ranks ranks, StopRequest stop, Consumer<String> hang) {
        this.config = config;
        this.ranks = ranks;
        this.stop = stop;
        this.hang = hang;
    }

    /** Runs to the end; ends as {@link TrainRun#run} does. */
    void run() {
        try (RunWatch watch = RunWatch.open(config, ranks, RunLog.silent())) {
            stop.onCheck(watch.status()::heartbeat);
            Path folder = config.output().outputDir().orElseThrow();
            Optional<ResumePoint> resumed =
                    ResumePoint.find(TrainRun.resumeFrom(config, ranks), folder, _ -> {});
            resumed.ifPresent(point -> watch.resumed(point, folder));
            try (Backend backend = Backends.open(config, ranks, _ -> {});
                    WorkerGroup workers = WorkerGroup.join(config, ranks, backend);
                    TrainJob job =
                            new TrainJob(
                                    config,
                                    Backends.device(config, backend),
                                    Backends.threads(config),
                                    stop,
                                    workers.collective())) {
                watch.opened(backend);
                run(job, backend, workers, resumed, watch);
            }
        }
    }

    private void run(
            TrainJob job,
            Backend backend,
            WorkerGroup workers,
            Optional<ResumePoint> resumed,
            RunWatch watch) {
        watch.status().phase(RunPhase.LOADING);
        job.requireFit();
        workers.requireSameRun(job, backend, resumed);
        job.load(backend);
        resumed.ifPresent(point -> point.restore(backend, job.copy()));
        watch.loaded(job, backend);
        TrainLoop.End end = train(job, resumed, watch);
        workers.finish();
        if (end == TrainLoop.End.SAVED || end == TrainLoop.End.UNSAVED) {
            throw stopped(end);
        }
    }

    private TrainLoop.End train(TrainJob job, Optional<ResumePoint> resumed, RunWatch watch) {
        Progress start = resumed.map(point -> point.state().progress()).orElse(Progress.START);
        Runnable heartbeat = watch.status()::heartbeat;
        try (Watchdog watchdog = TrainRun.watchdog(config, hang, heartbeat)) {
            return job.train(
                    watch.status(),
                    new TrainLoop.Surroundings(
                            start,
                            TrainRun.best(job.model().config().save(), start),
                            stop,
                            // The first worker saves.
                            Checkpointer.elsewhere(config.save().saveStrategy() != SaveStrategy.NO),
                            watchdog));
        }
    }

    private JloraException stopped(TrainLoop.End end) {
        String reason = TrainRun.reason(stop);
        ExitCode code = TrainRun.exitCode(end, reason);
        return new JloraException(code, reason + ": the run ends, as worker 0 says.");
    }
}
