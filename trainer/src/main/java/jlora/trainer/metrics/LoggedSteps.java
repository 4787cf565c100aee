package jlora.trainer.metrics;

import java.util.List;
import java.util.Optional;

/**
 * Passes on one {@link StepMetrics} per {@code logging_steps}, as Transformers logs: loss is the
 * mean over the steps since the last line, tokens and seconds their sums, everything else that of
 * the last step. Steps left over at the end make a shorter last line, so that the last step is
 * always logged.
 *
 * <p>Skipped steps have no part in loss and gradient norm, which are those of the steps that were
 * applied; a line of skipped steps alone has those of the last one.
 */
public final class LoggedSteps implements StepListener {
    /**
     * Sums over the steps since the last line.
     *
     * @param last of these steps; empty where there are none
     */
    public record State(
            double lossSum,
            int steps,
            int applied,
            double gradNorm,
            long tokens,
            double seconds,
            Optional<StepMetrics> last) {
        /** Nothing since the last line. */
        public static final State NONE = new State(0, 0, 0, 0, 0, 0, Optional.empty());
    }

    private final List<StepListener> targets;
    private int every = 1;
    private double lossSum;
    private int steps;
    private int applied;
    private long tokens;
    private double seconds;
    private StepMetrics last;
    private double gradNorm;

    public LoggedSteps(List<StepListener> targets) {
        this(targets, State.NONE);
    }

    /**
     * @param state that a resumed run goes on from
     */
    public LoggedSteps(List<StepListener> targets, State state) {
        this.targets = List.copyOf(targets);
        lossSum = state.lossSum;
        steps = state.steps;
        applied = state.applied;
        gradNorm = state.gradNorm;
        tokens = state.tokens;
        seconds = state.seconds;
        last = state.last.orElse(null);
    }

    /** What the next line starts from. */
    public State state() {
        return new State(
                lossSum,
                steps,
                applied,
                gradNorm,
                tokens,
                seconds,
                Optional.ofNullable(last).filter(_ -> steps > 0));
    }

    @Override
    public void started(RunStart start) {
        every = start.loggingSteps();
        targets.forEach(t -> t.started(start));
    }

    @Override
    public void step(StepMetrics metrics) {
        if (!metrics.skipped()) {
            lossSum += metrics.loss();
            gradNorm = metrics.gradNorm();
            applied++;
        }
        steps++;
        tokens += metrics.tokens();
        seconds += metrics.seconds();
        last = metrics;
        if (metrics.step() % every == 0) {
            flush();
        }
    }

    /**
     * An evaluation does not end a line: steps logged and losses evaluated keep their own rhythm.
     */
    @Override
    public void evaluated(EvalMetrics metrics) {
        targets.forEach(t -> t.evaluated(metrics));
    }

    @Override
    public void finished() {
        flush();
        targets.forEach(StepListener::finished);
    }

    private void flush() {
        if (steps == 0) {
            return;
        }
        StepMetrics line =
                new StepMetrics(
                        last.step(),
                        last.epoch(),
                        applied == 0 ? last.loss() : lossSum / applied,
                        applied == 0 ? last.gradNorm() : gradNorm,
                        last.learningRate(),
                        tokens,
                        seconds,
                        applied == 0,
                        last.skippedSteps());
        lossSum = 0;
        steps = 0;
        applied = 0;
        tokens = 0;
        seconds = 0;
        targets.forEach(t -> t.step(line));
    }
}
