package jlora.trainer.launch;

import jlora.runtime.JloraException;

import java.util.Optional;

/**
 * Time from the signal that ends a job to its kill: the step under way, one more (the losses of a
 * step are read a step late), and a checkpoint.
 */
public final class GracePeriod {
    /** Where nobody says how long a step takes. */
    static final int DEFAULT_SECONDS = 300;

    private static final int LEAST_SECONDS = 60;

    /** A slow shared disk. */
    private static final double SAVED_BYTES_PER_SECOND = 100e6;

    /** Values and two moments, each a float. */
    private static final int SAVED_BYTES_PER_PARAMETER = 12;

    private static final double SAVE_OVERHEAD_SECONDS = 10;

    private GracePeriod() {}

    /**
     * Whole seconds.
     *
     * @param given the period that was asked for
     * @param stepSeconds how long an optimizer step takes
     * @param trained parameters that a checkpoint holds
     */
    static int seconds(Optional<Integer> given, Optional<Double> stepSeconds, long trained) {
        double save =
                SAVE_OVERHEAD_SECONDS
                        + (double) trained * SAVED_BYTES_PER_PARAMETER / SAVED_BYTES_PER_SECOND;
        int needed = (int) Math.ceil(2 * stepSeconds.orElse(0.0) + save);
        if (given.isPresent()) {
            if (given.get() < needed) {
                throw JloraException.usage(
                        "--grace "
                                + given.get()
                                + " is too short for two steps and a checkpoint, which may take "
                                + needed
                                + " seconds; give that or more.");
            }
            return given.get();
        }
        return Math.max(needed, stepSeconds.isPresent() ? LEAST_SECONDS : DEFAULT_SECONDS);
    }
}
