package jlora.trainer.loop;

/** Keeps the state of a run as it goes. The loop calls it between steps, on its own thread. */
public interface Checkpointer {
    /** Keeps nothing. */
    Checkpointer NONE = elsewhere(false);

    /**
     * Keeps nothing itself.
     *
     * @param saved whether somebody else saves the run when it is asked to end
     */
    static Checkpointer elsewhere(boolean saved) {
        return new Checkpointer() {
            @Override
            public boolean due(long step, boolean epochEnds) {
                return false;
            }

            @Override
            public boolean wantsBest() {
                return false;
            }

            @Override
            public void save(Progress progress, boolean best) {}

            @Override
            public boolean stop(Progress progress) {
                return saved;
            }
        };
    }

    /**
     * Whether to save after this step. While an earlier checkpoint is still being written, training
     * waits for as long as a step takes, and then puts the save off to the next step.
     *
     * @throws jlora.runtime.JloraException when an earlier save failed
     */
    boolean due(long step, boolean epochEnds);

    /** Whether to save whenever an evaluation is the best so far. */
    boolean wantsBest();

    /**
     * Saves the state after a step that is done; returns as soon as the state is copied.
     *
     * @param best whether its evaluation is the best so far
     * @throws jlora.runtime.JloraException when this or an earlier save failed
     */
    void save(Progress progress, boolean best);

    /**
     * Saves the last state of a run that was asked to end, and waits for it.
     *
     * @return false when the run keeps no checkpoints
     */
    boolean stop(Progress progress);
}
