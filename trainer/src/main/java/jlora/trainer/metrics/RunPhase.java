package jlora.trainer.metrics;

import java.util.Locale;

/** What a run is doing. */
public enum RunPhase {
    /** Opens the device, plans, reads weights. */
    LOADING(false, "the model is not loaded yet"),
    TOKENISING(false, "the data is being tokenised, the model is not loaded yet"),
    TRAINING(true, "training"),
    EVALUATING(true, "evaluating"),
    SAVING(true, "saving"),
    DONE(false, "the run has ended");

    private final boolean ready;
    private final String text;

    RunPhase(boolean ready, String text) {
        this.ready = ready;
        this.text = text;
    }

    /** Whether the model is loaded and the run has not ended. */
    boolean ready() {
        return ready;
    }

    /** The phase in words. */
    String text() {
        return text;
    }

    /** The phase as a value of a label. */
    String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
