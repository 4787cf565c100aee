package jlora.trainer.metrics;

import java.io.PrintWriter;

/** A run in words: lines of text, and progress between them. */
final class TextLog implements RunLog {
    private final PrintWriter out;
    private final ConsoleProgress progress;

    TextLog(PrintWriter out, ConsoleProgress progress) {
        this.out = out;
        this.progress = progress;
    }

    @Override
    public synchronized void say(RunEvent event) {
        progress.aside(
                () -> {
                    out.println(event.level().prefix() + event.text());
                    out.flush();
                });
    }

    @Override
    public synchronized void started(RunStart start) {
        progress.started(start);
    }

    @Override
    public synchronized void step(StepMetrics metrics) {
        progress.step(metrics);
    }

    @Override
    public synchronized void evaluated(EvalMetrics metrics) {
        progress.evaluated(metrics);
    }

    @Override
    public synchronized void finished() {
        progress.finished();
    }
}
