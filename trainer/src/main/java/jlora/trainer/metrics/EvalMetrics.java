package jlora.trainer.metrics;

/**
 * One evaluation after a step (0 is before the first).
 *
 * @param loss mean over the evaluated tokens, in nats
 * @param tokens tokens that the loss is the mean of
 * @param seconds time the evaluation took
 */
public record EvalMetrics(long step, double epoch, double loss, long tokens, double seconds) {
    public EvalMetrics {
        if (step < 0 || tokens < 0 || !(seconds >= 0)) {
            throw new IllegalArgumentException(
                    "evaluation at step "
                            + step
                            + " of "
                            + tokens
                            + " tokens in "
                            + seconds
                            + " seconds");
        }
    }

    /** exp(loss). */
    public double perplexity() {
        return Math.exp(loss);
    }
}
