package jlora.trainer.metrics;

import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;

/** Time that passes when a test says so. */
final class ManualClock implements InstantSource {
    static final Instant START = Instant.parse("2026-03-01T10:00:00Z");

    private long nanos;

    void pass(double seconds) {
        nanos += Math.round(seconds * 1e9);
    }

    @Override
    public Instant instant() {
        return START.plusNanos(nanos);
    }

    long nanoTime() {
        return nanos - 77;
    }

    /** The status of a run whose process started when this clock did. */
    RunStatus run(double timeoutSeconds) {
        Duration timeout = Duration.ofNanos(Math.round(timeoutSeconds * 1e9));
        return new RunStatus(timeout, START, this, this::nanoTime);
    }
}
