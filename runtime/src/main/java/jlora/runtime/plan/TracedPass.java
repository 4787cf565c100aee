package jlora.runtime.plan;

import java.util.List;

/**
 * What a trace has recorded.
 *
 * @param steps in recorded order, without those of expansions
 * @param expansions whose scratch the steps read, in the order they were met
 */
record TracedPass(List<TracedStep> steps, List<TracedExpansion> expansions) {
    TracedPass {
        steps = List.copyOf(steps);
        expansions = List.copyOf(expansions);
    }
}
