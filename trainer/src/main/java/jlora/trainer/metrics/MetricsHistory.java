package jlora.trainer.metrics;

import java.util.ArrayList;
import java.util.List;

/**
 * Remembers what it hears, for the report at the end. Give it the thinned steps of {@link
 * LoggedSteps}.
 */
public final class MetricsHistory implements StepListener {
    private final List<StepMetrics> steps = new ArrayList<>();
    private final List<EvalMetrics> evaluations = new ArrayList<>();

    public List<StepMetrics> steps() {
        return List.copyOf(steps);
    }

    public List<EvalMetrics> evaluations() {
        return List.copyOf(evaluations);
    }

    @Override
    public void started(RunStart start) {}

    @Override
    public void step(StepMetrics metrics) {
        steps.add(metrics);
    }

    @Override
    public void evaluated(EvalMetrics metrics) {
        evaluations.add(metrics);
    }

    @Override
    public void finished() {}
}
