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
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.RunStart;
import jlora.trainer.metrics.StepListener;
import jlora.trainer.metrics.StepMetrics;

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
        Optional<ResumePoint> resumed =
                ResumePoint.find(
                        TrainRun.resumeFrom(config, ranks),
                        config.output().outputDir().orElseThrow(),
                        _ -> {});
        try (Backend backend = Backends.open(config, ranks, _ -> {});
                WorkerGroup workers = WorkerGroup.join(config, ranks, backend);
                TrainJob job =
                        new TrainJob(
                                config,
                                Backends.device(config, backend),
                                Backends.threads(config),
                                stop,
                                workers.collective())) {
            job.requireFit();
            workers.requireSameRun(job, backend, resumed);
            job.load(backend);
            resumed.ifPresent(point -> point.restore(backend, job.copy()));
            TrainLoop.End end = train(job, resumed);
            workers.finish();
            if (end == TrainLoop.End.SAVED || end == TrainLoop.End.UNSAVED) {
                throw stopped(end);
            }
        }
    }

    private TrainLoop.End train(TrainJob job, Optional<ResumePoint> resumed) {
        Progress start = resumed.map(point -> point.state().progress()).orElse(Progress.START);
        try (Watchdog watchdog = TrainRun.watchdog(config, hang, () -> {})) {
            return job.train(
                    SILENCE,
                    new TrainLoop.Surroundings(
                            start,
                            TrainRun.best(job.model().config().save(), start),
                            stop,
                            new NoFiles(config.save().saveStrategy() != SaveStrategy.NO),
                            watchdog));
        }
    }

    private JloraException stopped(TrainLoop.End end) {
        String reason = TrainRun.reason(stop);
        ExitCode code =
                end == TrainLoop.End.SAVED
                        ? ExitCode.PREEMPTED
                        : reason.equals("SIGINT") ? ExitCode.INTERRUPTED : ExitCode.TERMINATED;
        return new JloraException(code, reason + ": the run ends, as worker 0 says.");
    }

    /**
     * The first worker saves.
     *
     * @param saves whether it does so when the run is asked to end
     */
    private record NoFiles(boolean saves) implements Checkpointer {
        @Override
        public boolean due(long step, boolean epochEnds) {
            return false;
        }

        @Override
        public boolean wantsBest() {
            return false;
        }

        @Override
        public void save(Progress progress, boolean best) {}

        @Override
        public boolean stop(Progress progress) {
            return saves;
        }
    }

    private static final StepListener SILENCE =
            new StepListener() {
                @Override
                public void started(RunStart start) {}

                @Override
                public void step(StepMetrics metrics) {}

                @Override
                public void evaluated(EvalMetrics metrics) {}

                @Override
                public void finished() {}
            };
}
