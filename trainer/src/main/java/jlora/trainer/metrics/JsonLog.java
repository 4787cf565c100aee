package jlora.trainer.metrics;

import java.io.PrintWriter;
import java.time.Clock;
import java.time.Instant;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;
import java.util.List;
import java.util.Locale;

/**
 * A run as JSON Lines for log collectors: {@code time} (ISO 8601, UTC, milliseconds), {@code
 * level}, {@code event}, {@code message}, then the event's own fields. Steps come once per {@code
 * logging_steps}, with the numbers of {@code metrics.jsonl}.
 */
public final class JsonLog implements RunLog {
    private static final DateTimeFormatter TIME =
            new DateTimeFormatterBuilder().appendInstant(3).toFormatter(Locale.ROOT);

    private final PrintWriter out;
    private final Clock clock;
    private final LoggedSteps steps = new LoggedSteps(List.of(new Lines()));

    public JsonLog(PrintWriter out, Clock clock) {
        this.out = out;
        this.clock = clock;
    }

    @Override
    public synchronized void say(RunEvent event) {
        // One write of the whole line: other writers of the same stream come before or after it.
        out.write(line(event, clock.instant()) + "\n");
        out.flush();
    }

    private static String line(RunEvent event, Instant time) {
        JsonLine line =
                new JsonLine()
                        .put("time", TIME.format(time))
                        .put("level", event.level().name().toLowerCase(Locale.ROOT))
                        .put("event", event.name())
                        .put("message", event.text());
        event.fields().forEach(line::put);
        return line.end();
    }

    @Override
    public synchronized void started(RunStart start) {
        steps.started(start);
    }

    @Override
    public synchronized void step(StepMetrics metrics) {
        if (metrics.skipped()) {
            say(
                    RunEvent.warning(
                                    "skipped_step",
                                    "step "
                                            + metrics.step()
                                            + " was skipped: its loss or gradient is not finite")
                            .with("step", metrics.step())
                            .with("loss", metrics.loss())
                            .with("grad_norm", metrics.gradNorm())
                            .with("skipped_steps", metrics.skippedSteps()));
        }
        steps.step(metrics);
    }

    @Override
    public synchronized void evaluated(EvalMetrics metrics) {
        steps.evaluated(metrics);
    }

    @Override
    public synchronized void finished() {
        steps.finished();
    }

    /** Says what {@link LoggedSteps} lets through. */
    private final class Lines implements StepListener {
        private long totalSteps;

        @Override
        public void started(RunStart start) {
            totalSteps = start.totalSteps();
            say(
                    RunEvent.info(
                                    "start",
                                    start.doneSteps() == 0
                                            ? "training starts"
                                            : "training goes on after step " + start.doneSteps())
                            .with("step", start.doneSteps())
                            .with("total_steps", start.totalSteps())
                            .with("epochs", start.epochs())
                            .with("logging_steps", start.loggingSteps()));
        }

        @Override
        public void step(StepMetrics m) {
            say(
                    RunEvent.info("step", "step " + m.step() + " of " + totalSteps)
                            .with("step", m.step())
                            .with("total_steps", totalSteps)
                            .with("epoch", m.epoch())
                            .with("loss", m.loss())
                            .with("grad_norm", m.gradNorm())
                            .with("learning_rate", m.learningRate())
                            .with("tokens", m.tokens())
                            .with("tokens_per_second", m.tokensPerSecond())
                            .with("seconds", m.seconds())
                            .with("skipped_steps", m.skippedSteps()));
        }

        @Override
        public void evaluated(EvalMetrics m) {
            say(
                    RunEvent.info("evaluation", "evaluation after step " + m.step())
                            .with("step", m.step())
                            .with("epoch", m.epoch())
                            .with("eval_loss", m.loss())
                            .with("eval_perplexity", m.perplexity())
                            .with("eval_tokens", m.tokens())
                            .with("eval_seconds", m.seconds()));
        }

        @Override
        public void finished() {}
    }
}
