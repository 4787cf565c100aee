package jlora.runtime.plan;

/**
 * A step where the trace recorded it.
 *
 * @param layer the transformer layer it belongs to, or −1 outside the layers
 */
record TracedStep(Step step, Phase phase, int layer) {
    enum Phase {
        FORWARD,
        BACKWARD
    }
}
