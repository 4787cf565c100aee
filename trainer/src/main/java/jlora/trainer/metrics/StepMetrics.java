package jlora.trainer.metrics;

/**
 * One optimizer step, or the mean of the steps of one logged line.
 *
 * @param step steps done, this one included
 * @param epoch passes over the data done, as a fraction
 * @param loss mean over the trained tokens of the step
 * @param gradNorm norm of all gradients before clipping
 * @param learningRate rate the step was taken with
 * @param tokens tokens that went through the model, padding not counted
 * @param seconds time from the end of the step before to the end of this one, evaluations not
 *     counted
 */
public record StepMetrics(
        long step,
        double epoch,
        double loss,
        double gradNorm,
        double learningRate,
        long tokens,
        double seconds) {
    public StepMetrics {
        if (step < 1 || tokens < 0 || !(seconds >= 0)) {
            throw new IllegalArgumentException(
                    "step " + step + " with " + tokens + " tokens in " + seconds + " seconds");
        }
    }

    /** Tokens per second; 0 where the time is too short to tell. */
    public double tokensPerSecond() {
        return seconds > 0 ? tokens / seconds : 0;
    }
}
