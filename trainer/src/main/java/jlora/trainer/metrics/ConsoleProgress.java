package jlora.trainer.metrics;

import java.io.PrintStream;
import java.util.Locale;
import java.util.function.IntSupplier;
import java.util.function.LongSupplier;

/**
 * Shows how far a run is. On a terminal: one line redrawn in place (steps, bar, loss, tokens/s,
 * time gone and left), cut to the terminal's width. Elsewhere: a plain line every {@code
 * logging_steps}. A step that was skipped has a line of its own. Give it every step of the loop.
 */
public final class ConsoleProgress implements StepListener {
    private static final long REDRAW_NANOS = 100_000_000L;
    private static final int USUAL_WIDTH = 80;
    private static final String ERASE_LINE = "\r\u001b[K";

    /** Weight of the newest step in the shown loss and pace: about the last twenty steps count. */
    private static final double SMOOTHING = 0.1;

    private final PrintStream out;
    private final boolean interactive;
    private final IntSupplier width;
    private final LongSupplier nanoTime;
    private final boolean unicode;
    private RunStart start;
    private StepMetrics last;
    private double shownLoss;
    private double secondsPerStep;
    private double tokensPerSecond;
    private long startNanos;
    private long drawnNanos;
    private boolean drawn;

    ConsoleProgress(
            PrintStream out, boolean interactive, IntSupplier width, LongSupplier nanoTime) {
        this.out = out;
        this.interactive = interactive;
        this.width = width;
        this.nanoTime = nanoTime;
        this.unicode = out.charset().newEncoder().canEncode('━');
    }

    /** Progress on standard output. */
    public static ConsoleProgress onStandardOutput() {
        return new ConsoleProgress(
                System.out,
                Terminal.isInteractive(),
                () -> Terminal.columns().orElse(USUAL_WIDTH),
                System::nanoTime);
    }

    @Override
    public void started(RunStart start) {
        this.start = start;
        startNanos = nanoTime.getAsLong();
        drawnNanos = startNanos - REDRAW_NANOS;
    }

    @Override
    public void step(StepMetrics metrics) {
        boolean first = last == null;
        if (first || !Double.isFinite(shownLoss)) {
            shownLoss = metrics.loss();
        } else if (!metrics.skipped()) {
            shownLoss = mix(shownLoss, metrics.loss());
        }
        secondsPerStep = first ? metrics.seconds() : mix(secondsPerStep, metrics.seconds());
        tokensPerSecond =
                first ? metrics.tokensPerSecond() : mix(tokensPerSecond, metrics.tokensPerSecond());
        last = metrics;
        if (metrics.skipped()) {
            println(skippedLine());
            return;
        }
        boolean end = metrics.step() == start.totalSteps();
        if (interactive) {
            if (end || nanoTime.getAsLong() - drawnNanos >= REDRAW_NANOS) {
                draw();
            }
        } else if (end || metrics.step() % start.loggingSteps() == 0) {
            out.println(plainLine());
            out.flush();
        }
    }

    @Override
    public void evaluated(EvalMetrics m) {
        println(
                String.format(
                        Locale.ROOT,
                        "step %d  eval_loss %.4f  perplexity %.4g  (%,d tokens, %.1f s)",
                        m.step(),
                        m.loss(),
                        m.perplexity(),
                        m.tokens(),
                        m.seconds()));
    }

    /** Prints a line of other text without tearing the bar. */
    public void println(String text) {
        aside(() -> out.println(text));
    }

    /**
     * Lets something else print whole lines to the same terminal, which stand above the bar then.
     */
    void aside(Runnable print) {
        boolean wasDrawn = drawn;
        if (drawn) {
            out.print(ERASE_LINE);
            out.flush();
            drawn = false;
        }
        print.run();
        if (wasDrawn) {
            draw();
        }
        out.flush();
    }

    @Override
    public void finished() {
        if (interactive && last != null) {
            draw();
            out.println();
            drawn = false;
        }
        out.flush();
    }

    private void draw() {
        drawnNanos = nanoTime.getAsLong();
        out.print(ERASE_LINE + bar(Math.max(width.getAsInt() - 1, 10)));
        out.flush();
        drawn = true;
    }

    private String bar(int columns) {
        String head =
                String.format(
                        Locale.ROOT, "%" + digits() + "d/%d ", last.step(), start.totalSteps());
        String tail =
                String.format(
                        Locale.ROOT,
                        " %3d%%  loss %.4f  %s tok/s  %s<%s",
                        100 * last.step() / start.totalSteps(),
                        shownLoss,
                        compact(tokensPerSecond),
                        clock((nanoTime.getAsLong() - startNanos) / 1e9),
                        clock(secondsLeft()));
        int cells = Math.min(columns - head.length() - tail.length(), 40);
        String line = cells >= 5 ? head + cells(cells) + tail : head.strip() + tail;
        return line.length() <= columns ? line : line.substring(0, columns);
    }

    private String cells(int cells) {
        int full = (int) (cells * last.step() / start.totalSteps());
        return (unicode ? "━" : "#").repeat(full) + (unicode ? "┄" : ".").repeat(cells - full);
    }

    private String plainLine() {
        return String.format(
                Locale.ROOT,
                "step %"
                        + digits()
                        + "d/%d  epoch %.2f  loss %.4f  grad_norm %.4g  lr %.3g  %s tok/s  left %s",
                last.step(),
                start.totalSteps(),
                last.epoch(),
                last.loss(),
                last.gradNorm(),
                last.learningRate(),
                compact(tokensPerSecond),
                clock(secondsLeft()));
    }

    private String skippedLine() {
        return String.format(
                Locale.ROOT,
                "step %"
                        + digits()
                        + "d/%d  skipped: loss %.4g, grad_norm %.4g; parameters stay as they were"
                        + "  (skipped so far: %,d)",
                last.step(),
                start.totalSteps(),
                last.loss(),
                last.gradNorm(),
                last.skippedSteps());
    }

    private int digits() {
        return Long.toString(start.totalSteps()).length();
    }

    private double secondsLeft() {
        return (start.totalSteps() - last.step()) * secondsPerStep;
    }

    private static double mix(double before, double now) {
        return before + SMOOTHING * (now - before);
    }

    static String compact(double value) {
        if (value < 10) {
            return String.format(Locale.ROOT, "%.1f", value);
        }
        if (value < 10_000) {
            return String.format(Locale.ROOT, "%.0f", value);
        }
        return value < 999_950
                ? String.format(Locale.ROOT, "%.1fk", value / 1e3)
                : String.format(Locale.ROOT, "%.1fM", value / 1e6);
    }

    static String clock(double seconds) {
        long s = Math.round(seconds);
        return s >= 3600
                ? String.format(Locale.ROOT, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60)
                : String.format(Locale.ROOT, "%d:%02d", s / 60, s % 60);
    }
}
