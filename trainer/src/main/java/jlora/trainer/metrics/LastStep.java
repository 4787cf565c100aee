package jlora.trainer.metrics;

import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The last optimizer step that this process finished. One value for the whole process, since it
 * serves what is said of the process when it ends.
 */
public final class LastStep {
    private static final AtomicLong STEP = new AtomicLong(-1);

    private LastStep() {}

    public static void finished(long step) {
        STEP.set(step);
    }

    public static Optional<Long> ofThisProcess() {
        long step = STEP.get();
        return step < 0 ? Optional.empty() : Optional.of(step);
    }
}
