package jlora.trainer.metrics;

import jlora.trainer.config.LogFormat;

import java.io.PrintWriter;
import java.time.Clock;

/**
 * What a run prints: events of all kinds, and the steps and evaluations that it hears of as a
 * listener. Every line goes out whole and at once, from whichever thread it comes.
 */
public interface RunLog extends StepListener {
    void say(RunEvent event);

    /** What a user should know, and need not act on. */
    default void note(String text) {
        say(RunEvent.note(text));
    }

    /** Says nothing. */
    static RunLog silent() {
        return new RunLog() {
            @Override
            public void say(RunEvent event) {}

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

    /**
     * @param out standard output; progress on a terminal goes to {@link System#out} itself
     */
    static RunLog of(LogFormat format, PrintWriter out) {
        return switch (format) {
            case TEXT -> new TextLog(out, ConsoleProgress.onStandardOutput());
            case JSON -> new JsonLog(out, Clock.systemUTC());
        };
    }
}
