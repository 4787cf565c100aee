package jlora.trainer.loop;

import jlora.trainer.data.DataPosition;

/**
 * How far the loop is, after a step: with the parameters and moments all that the steps to come
 * depend on.
 *
 * @param step steps done
 * @param next where the step after them begins
 * @param epoch passes over the data done, as a fraction
 * @param tokens that went through the model
 * @param microBatches done, which dropout is numbered by
 * @param evaluationDue an evaluation after this step was cut short, and comes before anything else
 * @param best what evaluations have shown
 * @param nonfinite steps that were left out
 */
public record Progress(
        long step,
        DataPosition next,
        double epoch,
        long tokens,
        long microBatches,
        boolean evaluationDue,
        BestModel.State best,
        NonfinitePolicy.Counts nonfinite) {
    /** Nothing is done yet. */
    public static final Progress START =
            new Progress(
                    0,
                    DataPosition.START,
                    0,
                    0,
                    0,
                    false,
                    BestModel.State.NONE,
                    NonfinitePolicy.Counts.NONE);

    /** The same step after its evaluation, or with the evaluation still due. */
    Progress evaluated(boolean due) {
        return new Progress(step, next, epoch, tokens, microBatches, due, best, nonfinite);
    }

    /** The same step with what its results have shown. */
    Progress judged(BestModel.State evaluations, NonfinitePolicy.Counts steps) {
        return new Progress(
                step, next, epoch, tokens, microBatches, evaluationDue, evaluations, steps);
    }
}
