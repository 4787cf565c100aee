package jlora.trainer.loop;

import java.util.OptionalInt;

/**
 * Which evaluation was the best, and whether so many in a row were no better that the run should
 * end; as Transformers' Trainer and its EarlyStoppingCallback judge. Smaller is better.
 */
public final class BestModel {
    /**
     * @param step of the best evaluation; 0 for none
     * @param value of its metric; NaN for none
     * @param worse evaluations in a row since that were not better by the threshold
     */
    public record State(long step, double value, int worse) {
        /** No evaluation yet. */
        public static final State NONE = new State(0, Double.NaN, 0);

        public boolean known() {
            return step > 0;
        }
    }

    private final boolean perplexity;
    private final OptionalInt patience;
    private final double threshold;
    private State state;

    /**
     * @param perplexity whether it is compared instead of the loss
     * @param patience evaluations in a row without a gain that end the run
     * @param threshold how much better counts as a gain for patience
     * @param state that a resumed run goes on from
     */
    public BestModel(boolean perplexity, OptionalInt patience, double threshold, State state) {
        this.perplexity = perplexity;
        this.patience = patience;
        this.threshold = threshold;
        this.state = state;
    }

    /** Judges an evaluation; true when it is the best so far. */
    public boolean accept(long step, Evaluator.Result result) {
        double value = perplexity ? result.perplexity() : result.loss();
        boolean better = !state.known() ? !Double.isNaN(value) : value < state.value;
        boolean gain = better && (!state.known() || state.value - value > threshold);
        int worse = gain ? 0 : state.worse + 1;
        state = better ? new State(step, value, worse) : new State(state.step, state.value, worse);
        return better;
    }

    /** True when patience is at its end. */
    public boolean exhausted() {
        return patience.isPresent() && state.worse >= patience.getAsInt();
    }

    public State state() {
        return state;
    }
}
