package jlora.trainer.job;

import jlora.runtime.backend.Backend;
import jlora.trainer.config.Purpose;
import jlora.trainer.config.RunConfig;
import jlora.trainer.metrics.ConsoleProgress;
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.MetricsHistory;
import jlora.trainer.metrics.RunStart;
import jlora.trainer.metrics.StepListener;
import jlora.trainer.metrics.StepMetrics;
import jlora.trainer.report.ReportData;
import jlora.trainer.report.ReportPage;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/** The {@code train} command: a {@link TrainJob} with its words to the user and its files. */
public final class TrainRun {
    /** Does something with the loaded model before or after training. */
    @FunctionalInterface
    public interface Around {
        void accept(Backend backend, RunModel model);
    }

    private final RunConfig given;
    private final PrintWriter out;
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

    /** Runs to the end and writes everything. */
    public void run() {
        given.require(Purpose.TRAIN);
        OutputFolder folder =
                OutputFolder.check(
                        given.output().outputDir().orElseThrow(), given.output().overwrite());
        try (Backend backend = Backends.open(given, note -> out.println("note: " + note))) {
            out.println(backend.describe());
            Device device = Backends.device(given, backend);
            try (TrainJob job = new TrainJob(given, device, Backends.threads(given))) {
                run(job, backend, folder);
            }
        }
    }

    private void run(TrainJob job, Backend backend, OutputFolder folder) {
        given.notes().forEach(note -> out.println("note: " + note));
        job.data().notes().forEach(out::println);
        job.model().notes().forEach(notice -> out.println("note: " + notice));
        out.print(new PlanTable(job.model().model(), job.plan(), job.device()).text());
        out.flush();
        job.requireFit();
        job.load(backend);
        before.accept(backend, job.model());

        long start = System.nanoTime();
        RunFiles files = new RunFiles(folder, job.model().config());
        try (files) {
            job.train(new Both(files, ConsoleProgress.onStandardOutput()));
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

    /** Files get one line per logging_steps, the terminal every step. */
    private record Both(StepListener files, StepListener terminal) implements StepListener {
        @Override
        public void started(RunStart start) {
            files.started(start);
            terminal.started(start);
        }

        @Override
        public void step(StepMetrics metrics) {
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
