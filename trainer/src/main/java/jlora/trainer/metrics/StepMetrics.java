package jlora.trainer.metrics;

/**
 * One optimizer step, or the mean of the steps of one logged line.
 *
 * <p>Of a step that was skipped, loss and gradNorm are what they were: one of them is not finite.
 *
 * @param step steps done, this one included
 * @param epoch passes over the data done, as a fraction
 * @param loss mean over the trained tokens of the step
 * @param gradNorm norm of all gradients before clipping
 * @param learningRate rate the step was taken with
 * @param tokens tokens that went through the model, padding not counted
 * @param seconds time from the end of the step before to the end of this one, evaluations not
 *     counted
 * @param skipped whether the step changed nothing, because its loss or gradient was not finite; of
 *     a logged line, whether that is so of all its steps
 * @param skippedSteps how many steps of the whole run so far were skipped
 */
public record StepMetrics(
        long step,
        double epoch,
        double loss,
        double gradNorm,
        double learningRate,
        long tokens,
        double seconds,
        boolean skipped,
        long skippedSteps) {
    public StepMetrics {
        if (step < 1 || tokens < 0 || !(seconds >= 0)) {
            throw new IllegalArgumentException(
                    "step " + step + " with " + tokens + " tokens in " + seconds + " seconds");
        }
    }

    /** Of a run that has skipped nothing. */
    public StepMetrics(
            long step,
            double epoch,
            double loss,
            double gradNorm,
            double learningRate,
            long tokens,
            double seconds) {
        this(step, epoch, loss, gradNorm, learningRate, tokens, seconds, false, 0);
    }

    /** Tokens per second; 0 where the time is too short to tell. */
    public double tokensPerSecond() {
        return seconds > 0 ? tokens / seconds : 0;
    }
}
