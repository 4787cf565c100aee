package jlora.trainer.data;

import java.util.function.IntPredicate;

/**
 * A causal model small enough to see through: one attention whose scores and values depend on ids
 * and positions in an arbitrary way. Two layouts of the same rows agree on it only if every token
 * sees the same tokens at the same places.
 */
final class ToyModel {
    private ToyModel() {}

    /** Loss of the token at index t of a sequence that begins at index start. */
    static double loss(
            int t, int start, int[] ids, int[] positions, IntPredicate visible, int target) {
        double weights = 0;
        double sum = 0;
        for (int u = start; u <= t; u++) {
            if (visible.test(u)) {
                double weight =
                        Math.exp(
                                Math.sin(
                                        1.3 * ids[t]
                                                + 0.7 * ids[u]
                                                + positions[t]
                                                - 2.1 * positions[u]));
                weights += weight;
                sum += weight * Math.cos(0.9 * ids[u] + 0.4 * positions[u]);
            }
        }
        double seen = weights == 0 ? 0 : sum / weights;
        return 1 + Math.sin(3 * seen + ids[t] + 0.5 * positions[t] + 0.11 * target);
    }
}
