package jlora.trainer.metrics;

/**
 * A place that {@code report_to} names: it hears one {@link StepMetrics} per {@code logging_steps},
 * and what it has heard is out at once, so that a killed run keeps it.
 */
public interface MetricsReport extends StepListener, AutoCloseable {
    @Override
    void close();
}
