package jlora.trainer.loop;

import jlora.runtime.backend.Readback;

import java.util.List;

/** A step that was started, and whose results are on their way; see {@link TrainEngine#start}. */
public final class PendingStep {
    private final List<Readback> losses;
    private final boolean voted;
    private final Readback norms;

    /**
     * @param losses of the micro-batches, in their order, one or more in each
     * @param voted whether the last number is not a loss but how many workers want to stop
     */
    PendingStep(List<Readback> losses, boolean voted, Readback norms) {
        this.losses = List.copyOf(losses);
        this.voted = voted;
        this.norms = norms;
    }

    /** Waits for the step; to be called once. */
    public TrainEngine.StepResult get() {
        double loss = 0;
        boolean stop = false;
        for (Readback some : losses) {
            float[] values = some.get();
            int count = voted ? values.length - 1 : values.length;
            for (int i = 0; i < count; i++) {
                loss += values[i];
            }
            stop = voted && values[count] > 0;
        }
        float[] normAndFactor = norms.get();
        float[] gradNorms = new float[normAndFactor.length / 2];
        for (int i = 0; i < gradNorms.length; i++) {
            gradNorms[i] = normAndFactor[2 * i];
        }
        return new TrainEngine.StepResult(loss, gradNorms, stop);
    }
}
