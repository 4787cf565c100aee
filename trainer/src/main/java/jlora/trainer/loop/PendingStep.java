package jlora.trainer.loop;

import jlora.runtime.backend.Readback;

import java.util.List;

/** A step that was started, and whose results are on their way; see {@link TrainEngine#start}. */
public final class PendingStep {
    private final List<Readback> losses;
    private final Readback norms;

    PendingStep(List<Readback> losses, Readback norms) {
        this.losses = List.copyOf(losses);
        this.norms = norms;
    }

    /** Waits for the step; to be called once. */
    public TrainEngine.StepResult get() {
        double loss = 0;
        for (Readback microBatch : losses) {
            loss += microBatch.get()[0];
        }
        float[] normAndFactor = norms.get();
        float[] gradNorms = new float[normAndFactor.length / 2];
        for (int i = 0; i < gradNorms.length; i++) {
            gradNorms[i] = normAndFactor[2 * i];
        }
        return new TrainEngine.StepResult(loss, gradNorms);
    }
}
