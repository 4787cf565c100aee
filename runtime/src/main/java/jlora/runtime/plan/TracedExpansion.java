package jlora.runtime.plan;

/**
 * An expansion where the trace met it first.
 *
 * @param layer the transformer layer that reads it, or −1 outside the layers
 */
record TracedExpansion(Expansion expansion, int layer) {}
