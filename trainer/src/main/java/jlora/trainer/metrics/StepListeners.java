package jlora.trainer.metrics;

import java.util.List;

/** Passes on everything to several listeners, in their order; the end in the reverse one. */
public record StepListeners(List<StepListener> listeners) implements StepListener {
    public StepListeners {
        listeners = List.copyOf(listeners);
    }

    public static StepListeners of(StepListener... listeners) {
        return new StepListeners(List.of(listeners));
    }

    @Override
    public void started(RunStart start) {
        listeners.forEach(l -> l.started(start));
    }

    @Override
    public void phase(RunPhase phase) {
        listeners.forEach(l -> l.phase(phase));
    }

    @Override
    public void step(StepMetrics metrics) {
        listeners.forEach(l -> l.step(metrics));
    }

    @Override
    public void evaluated(EvalMetrics metrics) {
        listeners.forEach(l -> l.evaluated(metrics));
    }

    @Override
    public void finished() {
        listeners.reversed().forEach(StepListener::finished);
    }
}
