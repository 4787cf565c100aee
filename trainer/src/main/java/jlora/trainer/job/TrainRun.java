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
import jlora.trainer.loop.BestModel;
import jlora.trainer.loop.Progress;
import jlora.trainer.loop.TrainLoop;
import jlora.trainer.loop.Watchdog;
import jlora.trainer.metrics.ConsoleProgress;
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.LastStep;
import jlora.trainer.metrics.MetricsHistory;
import jlora.trainer.metrics.RunStart;
import jlora.trainer.metrics.StepListener;
import jlora.trainer.metrics.StepMetrics;
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
    private final PrintWriter out;
    private StopRequest stop = new StopRequest();
    private Consumer<String> hang = _ -> {};
    private Around before = (backend, model) -> {};
    private Around after = (backend, model) -> {};

    public TrainRun(RunConfig config, PrintWriter out) {
        this.given = config;
        this.out = out;
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
        given.require(Purpose.TRAIN);
        Path path = given.output().outputDir().orElseThrow();
        try (OutputFolder folder = OutputFolder.open(path, existing())) {
            Optional<ResumePoint> resumed =
                    ResumePoint.find(given.save().resumeFromCheckpoint(), path, this::note);
            try (Backend backend = Backends.open(given, this::note)) {
                out.println(backend.describe());
                Device device = Backends.device(given, backend);
                int threads = Backends.threads(given);
                try (TrainJob job = new TrainJob(given, device, threads, stop)) {
                    run(job, backend, folder, resumed);
                }
            }
        }
    }

    private OutputFolder.Existing existing() {
        if (given.save().resumeFromCheckpoint().isPresent()) {
            return OutputFolder.Existing.RESUME;
        }
        return given.output().overwrite()
                ? OutputFolder.Existing.REPLACE
                : OutputFolder.Existing.REFUSE;
    }

    private void note(String note) {
        out.println("note: " + note);
    }

    private void run(
            TrainJob job, Backend backend, OutputFolder folder, Optional<ResumePoint> resumed) {
        given.notes().forEach(this::note);
        job.data().notes().forEach(out::println);
        job.model().notes().forEach(this::note);
        out.print(new PlanTable(job.model().model(), job.plan(), job.device()).text());
        out.flush();
        job.requireFit();
        Memo<RunIdentity> identity = new Memo<>(() -> identity(job, backend));
        resumed.ifPresent(
                point -> point.requireSame(job.model().config(), identity.get(), this::note));
        job.load(backend);
        resumed.ifPresent(
                point -> {
                    point.restore(backend, job.copy());
                    note(
                            "going on after step "
                                    + point.state().progress().step()
                                    + " from "
                                    + point.checkpoint().path());
                });
        before.accept(backend, job.model());

        long start = System.nanoTime();
        RunFiles files = new RunFiles(folder, job.model().config(), resumed);
        try (files) {
            train(job, files, folder.path(), resumed, identity);
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        Path path = folder.path();
        job.save(path);
        report(job, backend, files.history(), seconds, path);
        after.accept(backend, job.model());
        out.printf(
                Locale.ROOT,
                "%s in %s, report in %s%n",
                job.model().lora().isPresent() ? "Adapter" : "Model",
                path,
                path.resolve("report.html"));
        out.flush();
    }

    private void train(
            TrainJob job,
            RunFiles files,
            Path folder,
            Optional<ResumePoint> resumed,
            Memo<RunIdentity> identity) {
        Optional<Progress> done = resumed.map(point -> point.state().progress());
        SaveConfig save = job.model().config().save();
        BestModel best =
                new BestModel(
                        save.comparesPerplexity(),
                        save.earlyStoppingPatience()
                                .map(OptionalInt::of)
                                .orElse(OptionalInt.empty()),
                        save.earlyStoppingThreshold(),
                        done.orElse(Progress.START).best());
        try (Watchdog watchdog = watchdog();
                RunCheckpoints checkpoints =
                        new RunCheckpoints(job, files, folder, done, identity, saved -> {})) {
            TrainLoop.End end =
                    job.train(
                            new Both(files, ConsoleProgress.onStandardOutput()),
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
                        note(
                                "ended early: the last "
                                        + best.state().worse()
                                        + " evaluations were no better than that after step "
                                        + best.state().step());
                case SAVED, UNSAVED -> throw stopped(end, folder);
            }
            if (save.loadBestModelAtEnd() && best.state().known()) {
                loadBest(job, folder, best.state().step());
            }
        }
    }

    private JloraException stopped(TrainLoop.End end, Path folder) {
        String signal = stop.reason().orElseThrow();
        if (end == TrainLoop.End.SAVED) {
            return new JloraException(
                    ExitCode.PREEMPTED,
                    signal
                            + ": the run ends, and "
                            + CheckpointFolder.in(folder).stream()
                                    .reduce((_, last) -> last)
                                    .map(last -> last.path() + " is complete")
                                    .orElse("has not begun")
                            + "; start it again with --resume_from_checkpoint auto to go on.");
        }
        return new JloraException(
                signal.equals("SIGINT") ? ExitCode.INTERRUPTED : ExitCode.TERMINATED,
                signal + ": the run ends without a checkpoint, since save_strategy is no.");
    }

    private void loadBest(TrainJob job, Path folder, long step) {
        ResumePoint.find(
                        Optional.of(new ResumeFrom.Folder(folder.resolve("checkpoint-" + step))),
                        folder,
                        this::note)
                .orElseThrow()
                .restore(job.session().backend(), job.copy());
        note("the best evaluation was after step " + step + ": its state is written");
    }

    private Watchdog watchdog() {
        double seconds = given.job().stepTimeout();
        return new Watchdog(Duration.ofMillis((long) (seconds * 1000)), hang);
    }

    private RunIdentity identity(TrainJob job, Backend backend) {
        return new RunIdentity(
                job.model().fingerprint(),
                job.data().fingerprint(),
                job.model().model().weights().dtype().torchName(),
                1,
                backend.describe());
    }

    private static void report(
            TrainJob job, Backend backend, MetricsHistory history, double seconds, Path path) {
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
        facts.put("recomputed", job.plan().microBatch().recomputed());
        ReportPage.write(
                new ReportData(
                        "jlora: " + path.getFileName(),
                        job.model().folder().getFileName() + " on " + backend.describe(),
                        history.steps(),
                        history.evaluations(),
                        job.plan().items(),
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

    /** Files get one line per logging_steps, the terminal every step. */
    private record Both(StepListener files, StepListener terminal) implements StepListener {
        @Override
        public void started(RunStart start) {
            files.started(start);
            terminal.started(start);
        }

        @Override
        public void step(StepMetrics metrics) {
            LastStep.finished(metrics.step());
            files.step(metrics);
            terminal.step(metrics);
        }

        @Override
        public void evaluated(EvalMetrics metrics) {
            files.evaluated(metrics);
            terminal.evaluated(metrics);
        }

        @Override
        public void finished() {
            terminal.finished();
            files.finished();
        }
    }
}
