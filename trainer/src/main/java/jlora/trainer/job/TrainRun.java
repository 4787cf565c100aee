package jlora.trainer.job;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.StopRequest;
import jlora.runtime.backend.Backend;
import jlora.trainer.checkpoint.CheckpointFolder;
import jlora.trainer.checkpoint.ResumePoint;
import jlora.trainer.checkpoint.RunIdentity;
import jlora.trainer.config.Purpose;
import jlora.trainer.config.ResumeFrom;
import jlora.trainer.config.RunConfig;
import jlora.trainer.config.SaveConfig;
import jlora.trainer.launch.Ranks;
import jlora.trainer.loop.BestModel;
import jlora.trainer.loop.Progress;
import jlora.trainer.loop.TrainLoop;
import jlora.trainer.loop.Watchdog;
import jlora.trainer.metrics.MetricsHistory;
import jlora.trainer.metrics.RunEvent;
import jlora.trainer.metrics.RunLog;
import jlora.trainer.metrics.RunPhase;
import jlora.trainer.metrics.StepListeners;
import jlora.trainer.metrics.StepMetrics;
import jlora.trainer.report.MemoryComparison;
import jlora.trainer.report.ReportData;
import jlora.trainer.report.ReportPage;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** The {@code train} command: a {@link TrainJob} with its words to the user and its files. */
public final class TrainRun {
    /** Does something with the loaded model before or after training. */
    @FunctionalInterface
    public interface Around {
        void accept(Backend backend, RunModel model);
    }

    private final RunConfig given;
    private final RunLog log;
    private StopRequest stop = new StopRequest();
    private Consumer<String> hang = _ -> {};
    private Around before = (backend, model) -> {};
    private Around after = (backend, model) -> {};

    public TrainRun(RunConfig config, PrintWriter out) {
        this.given = config;
        this.log = RunLog.of(config.output().logFormat(), out);
    }

    public TrainRun before(Around action) {
        before = action;
        return this;
    }

    public TrainRun after(Around action) {
        after = action;
        return this;
    }

    /**
     * Acts on a step that takes longer than step_timeout.
     *
     * @param action hears what hangs, on a thread of its own
     */
    public TrainRun onHang(Consumer<String> action) {
        hang = action;
        return this;
    }

    /** Ends the run when it is asked to, with a checkpoint. */
    public TrainRun stopBy(StopRequest request) {
        stop = request;
        return this;
    }

    /**
     * Runs to the end and writes everything.
     *
     * @throws JloraException with {@link ExitCode#PREEMPTED} when the run was asked to end and can
     *     go on from a checkpoint
     */
    public void run() {
        Ranks ranks = Ranks.ofThisProcess();
        try {
            given.require(Purpose.TRAIN);
            if (ranks.first()) {
                lead(ranks);
            } else {
                new FollowerRun(given, ranks, stop, hang).run();
            }
        } catch (JloraException e) {
            throw ranks.named(e);
        }
    }

    private void lead(Ranks ranks) {
        Path path = given.output().outputDir().orElseThrow();
        try (OutputFolder folder = OutputFolder.open(path, existing(ranks))) {
            watch(folder, ranks);
        }
    }

    private void watch(OutputFolder folder, Ranks ranks) {
        try (RunWatch watch = RunWatch.open(given, ranks, log)) {
            stop.onCheck(watch.status()::heartbeat);
            Optional<ResumePoint> resumed =
                    ResumePoint.find(
                            resumeFrom(given, ranks),
                            folder.path(),
                            text -> log.say(RunEvent.warning("checkpoint", text)));
            resumed.ifPresent(point -> watch.resumed(point, folder.path()));
            try (Backend backend = Backends.open(given, ranks, log::note);
                    WorkerGroup workers = WorkerGroup.join(given, ranks, backend)) {
                watch.opened(backend);
                workers.describe().ifPresent(text -> log.say(RunEvent.info("workers", text)));
                Device device = Backends.device(given, backend);
                int threads = Backends.threads(given);
                try (TrainJob job =
                        new TrainJob(given, device, threads, stop, workers.collective())) {
                    run(job, backend, workers, folder, resumed, watch);
                }
            }
        }
    }

    /** What is asked for; a job that its scheduler has started again goes on by itself. */
    static Optional<ResumeFrom> resumeFrom(RunConfig config, Ranks ranks) {
        return config.save()
                .resumeFromCheckpoint()
                .or(
                        () ->
                                ranks.restartCount() > 0
                                        ? Optional.of(new ResumeFrom.Auto())
                                        : Optional.empty());
    }

    private OutputFolder.Existing existing(Ranks ranks) {
        if (resumeFrom(given, ranks).isPresent()) {
            return OutputFolder.Existing.RESUME;
        }
        return given.output().overwrite()
                ? OutputFolder.Existing.REPLACE
                : OutputFolder.Existing.REFUSE;
    }

    private void run(
            TrainJob job,
            Backend backend,
            WorkerGroup workers,
            OutputFolder folder,
            Optional<ResumePoint> resumed,
            RunWatch watch) {
        watch.status().phase(RunPhase.LOADING);
        given.notes().forEach(log::note);
        job.data().notes().forEach(line -> log.say(RunEvent.info("data", line)));
        job.model().notes().forEach(log::note);
        log.say(job.table().event());
        job.requireFit();
        Memo<RunIdentity> identity = new Memo<>(() -> workers.identity(job, backend));
        resumed.ifPresent(
                point -> point.requireSame(job.model().config(), identity.get(), log::note));
        workers.requireSameRun(job, backend, resumed);
        job.load(backend);
        resumed.ifPresent(
                point -> {
                    point.restore(backend, job.copy());
                    log.note(
                            "going on after step "
                                    + point.state().progress().step()
                                    + " from "
                                    + point.checkpoint().path());
                });
        watch.loaded(job, backend);
        before.accept(backend, job.model());

        long start = System.nanoTime();
        RunFiles files = new RunFiles(folder, job.model().config(), resumed);
        try (files) {
            train(job, workers, files, folder.path(), resumed, identity, watch);
        }
        watch.status().phase(RunPhase.SAVING);
        double seconds = (System.nanoTime() - start) / 1e9;
        Path path = folder.path();
        job.save(path);
        MemoryComparison memory = RunMemory.of(job.plan(), job.session());
        report(job, backend, files.history(), memory, seconds, path);
        workers.finish();
        after.accept(backend, job.model());
        Path page = path.resolve("report.html");
        log.say(memory(memory));
        String kind = job.model().lora().isPresent() ? "Adapter" : "Model";
        log.say(
                RunEvent.info("end", kind + " in " + path + ", report in " + page)
                        .with("path", path)
                        .with("report", page)
                        .with("steps", job.totalSteps())
                        .with("seconds", seconds));
    }

    private void train(
            TrainJob job,
            WorkerGroup workers,
            RunFiles files,
            Path folder,
            Optional<ResumePoint> resumed,
            Memo<RunIdentity> identity,
            RunWatch watch) {
        Optional<Progress> done = resumed.map(point -> point.state().progress());
        SaveConfig save = job.model().config().save();
        BestModel best = best(save, done.orElse(Progress.START));
        try (Watchdog watchdog = watchdog(given, hang, watch.status()::heartbeat);
                RunCheckpoints checkpoints =
                        new RunCheckpoints(job, files, folder, done, identity, watch::saved)) {
            TrainLoop.End end =
                    job.train(
                            StepListeners.of(files, log, watch.status()),
                            new TrainLoop.Surroundings(
                                    done.orElse(Progress.START),
                                    best,
                                    stop,
                                    checkpoints,
                                    watchdog));
            checkpoints.await();
            switch (end) {
                case DONE -> {}
                case EARLY ->
                        log.note(
                                "ended early: the last "
                                        + best.state().worse()
                                        + " evaluations were no better than that after step "
                                        + best.state().step());
                case SAVED, UNSAVED -> {
                    workers.finish();
                    throw stopped(end, folder);
                }
            }
            if (save.loadBestModelAtEnd() && best.state().known()) {
                loadBest(job, folder, best.state().step());
            }
        }
    }

    private JloraException stopped(TrainLoop.End end, Path folder) {
        String signal = reason(stop);
        if (end == TrainLoop.End.SAVED) {
            return new JloraException(
                    exitCode(end, signal),
                    signal
                            + ": the run ends, and "
                            + CheckpointFolder.in(folder).stream()
                                    .reduce((_, last) -> last)
                                    .map(last -> last.path() + " is complete")
                                    .orElse("has not begun")
                            + "; start it again with --resume_from_checkpoint auto to go on.");
        }
        return new JloraException(
                exitCode(end, signal),
                signal + ": the run ends without a checkpoint, since save_strategy is no.");
    }

    /** How a run ends that was asked to. */
    static ExitCode exitCode(TrainLoop.End end, String reason) {
        if (end == TrainLoop.End.SAVED) {
            return ExitCode.PREEMPTED;
        }
        return reason.equals("SIGINT") ? ExitCode.INTERRUPTED : ExitCode.TERMINATED;
    }

    private void loadBest(TrainJob job, Path folder, long step) {
        ResumePoint.find(
                        Optional.of(new ResumeFrom.Folder(folder.resolve("checkpoint-" + step))),
                        folder,
                        log::note)
                .orElseThrow()
                .restore(job.session().backend(), job.copy());
        log.note("the best evaluation was after step " + step + ": its state is written");
    }

    static Watchdog watchdog(RunConfig config, Consumer<String> hang, Runnable beat) {
        double seconds = config.job().stepTimeout();
        return new Watchdog(Duration.ofMillis((long) (seconds * 1000)), hang, beat);
    }

    /** Judges the evaluations of a run that has come so far. */
    static BestModel best(SaveConfig save, Progress done) {
        return new BestModel(
                save.comparesPerplexity(),
                save.earlyStoppingPatience().map(OptionalInt::of).orElse(OptionalInt.empty()),
                save.earlyStoppingThreshold(),
                done.best());
    }

    /** What asked this worker to end, or another one of its run. */
    static String reason(StopRequest stop) {
        return stop.reason().orElse("another worker was asked to end");
    }

    /** Plan and count of a finished run, as something that it tells. */
    private static RunEvent memory(MemoryComparison memory) {
        RunEvent event =
                RunEvent.info("memory", memory.text())
                        .with("planned_bytes", memory.planned())
                        .with("allocated_bytes", memory.allocated());
        if (memory.counted().isPresent()) {
            event =
                    event.with("counted_by", memory.countedBy())
                            .with("counted_bytes", memory.counted().getAsLong());
        }
        return memory.peak().isPresent()
                ? event.with("counted_peak_bytes", memory.peak().getAsLong())
                : event;
    }

    private static void report(
            TrainJob job,
            Backend backend,
            MetricsHistory history,
            MemoryComparison memory,
            double seconds,
            Path path) {
        Map<String, String> facts = new LinkedHashMap<>();
        facts.put("model", job.model().folder().toString());
        facts.put("architecture", job.model().model().config().modelType());
        facts.put("device", backend.describe());
        facts.put("type", job.model().model().weights().dtype().torchName());
        facts.put(
                "parameters",
                String.format(Locale.ROOT, "%,d", job.model().model().weights().elements()));
        facts.put("trained", String.format(Locale.ROOT, "%,d", job.plan().trainedParameters()));
        facts.put("seconds", String.format(Locale.ROOT, "%.1f", seconds));
        facts.put(
                "tokens",
                String.format(
                        Locale.ROOT,
                        "%,d",
                        history.steps().stream().mapToLong(StepMetrics::tokens).sum()));
        long skipped = history.steps().isEmpty() ? 0 : history.steps().getLast().skippedSteps();
        if (skipped > 0) {
            facts.put("skipped steps", String.format(Locale.ROOT, "%,d", skipped));
        }
        facts.put("recomputed", job.plan().microBatch().recomputed());
        ReportPage.write(
                new ReportData(
                        "jlora: " + path.getFileName(),
                        job.model().folder().getFileName() + " on " + backend.describe(),
                        history.steps(),
                        history.evaluations(),
                        job.plan().items(),
                        Optional.of(memory),
                        job.model().config().settings(),
                        facts),
                path.resolve("report.html"));
    }

    /** Made when first asked for, by whichever thread. */
    private static final class Memo<T> implements Supplier<T> {
        private final Supplier<T> maker;
        private T value;

        Memo(Supplier<T> maker) {
            this.maker = maker;
        }

        @Override
        public synchronized T get() {
            if (value == null) {
                value = maker.get();
            }
            return value;
        }
    }
}
