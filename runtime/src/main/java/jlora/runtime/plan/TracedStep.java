package jlora.runtime.plan;

import jlora.runtime.tensor.Storage;

/**
 * A step where the trace recorded it.
 *
 * @param layer the transformer layer it belongs to, or −1 outside the layers
 */
record TracedStep(Step step, Phase phase, int layer) {
    /** True for a step that an expansion consists of. */
    boolean expands() {
        return step.writes().stream().anyMatch(w -> w.storage().role() == Storage.Role.EXPANSION);
    }

    enum Phase {
        FORWARD,
        BACKWARD
    }
}
