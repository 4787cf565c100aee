package jlora.trainer.loop;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.config.OnNonfinite;

/**
 * What a run does about steps whose loss or gradient is not finite. The device has left such a step
 * out by itself ({@link TrainEngine#start}); this counts them, in the order of steps, and says when
 * the run ends.
 */
public final class NonfinitePolicy {
    /**
     * What has been counted: part of a run's state.
     *
     * @param skipped steps left out so far
     * @param inARow those of them after which none was applied
     */
    public record Counts(long skipped, long inARow) {
        public static final Counts NONE = new Counts(0, 0);

        public Counts {
            if (inARow < 0 || skipped < inARow) {
                throw new IllegalArgumentException(
                        skipped + " steps skipped, " + inARow + " of them in a row");
            }
        }
    }

    private final OnNonfinite action;
    private final int most;
    private Counts counts = Counts.NONE;

    /**
     * @param most with {@link OnNonfinite#SKIP}, so many such steps in a row end the run
     */
    public NonfinitePolicy(OnNonfinite action, int most) {
        this.action = action;
        this.most = most;
    }

    /** Counts so far; {@link #restore} takes them in a run that goes on from here. */
    public Counts counts() {
        return counts;
    }

    public void restore(Counts counts) {
        this.counts = counts;
    }

    /**
     * Hears what a step did.
     *
     * @param step its number, from 1
     * @return true when the step was left out and the run goes on
     * @throws JloraException with {@link ExitCode#NUMERICS} when the run ends here
     */
    public boolean skips(long step, TrainEngine.StepResult result) {
        if (result.finite()) {
            counts = new Counts(counts.skipped, 0);
            return false;
        }
        counts = new Counts(counts.skipped + 1, counts.inARow + 1);
        if (action == OnNonfinite.SKIP && counts.inARow < most) {
            return true;
        }
        throw new JloraException(
                ExitCode.NUMERICS,
                "Step "
                        + step
                        + ": the loss is "
                        + result.loss()
                        + " and the gradient norm "
                        + result.gradNorm()
                        + (action == OnNonfinite.SKIP ? inARow() : "")
                        + "; lower learning_rate, or look for broken rows in the data.");
    }

    private String inARow() {
        return ", not finite in "
                + (counts.inARow == 1 ? "one step" : counts.inARow + " steps in a row")
                + ", which is all that max_nonfinite_steps allows";
    }
}
