package jlora.runtime.weight;

import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.RandomFillKernel;
import jlora.runtime.tensor.Tensor;

/**
 * Fills a model with random weights as Transformers initialises them: matrices normal, norms one,
 * biases zero.
 */
public final class RandomInit {
    /** Elements between two polls: half a second on one slow core. */
    private static final long PIECE = 1 << 24;

    private RandomInit() {}

    /** Each tensor's values depend on the seed and its name alone. */
    public static void fill(
            Backend backend, ModelWeights weights, double standardDeviation, long seed) {
        fill(backend, weights, standardDeviation, seed, () -> {});
    }

    /**
     * The same.
     *
     * @param poll called every few million elements; what it throws ends the filling
     */
    public static void fill(
            Backend backend,
            ModelWeights weights,
            double standardDeviation,
            long seed,
            Runnable poll) {
        RandomFillKernel kernel = backend.kernels().randomFill();
        for (CheckpointTensor tensor : weights.checkpoint()) {
            poll.run();
            Tensor target = tensor.target();
            switch (tensor.init()) {
                case ZEROS -> kernel.constant(target, 0);
                case ONES -> kernel.constant(target, 1);
                case NORMAL -> normal(kernel, tensor, standardDeviation, seed, poll);
            }
        }
    }

    private static void normal(
            RandomFillKernel kernel,
            CheckpointTensor tensor,
            double standardDeviation,
            long seed,
            Runnable poll) {
        Tensor target = tensor.target();
        long rows = Math.max(1, PIECE / Math.max(1, target.cols()));
        for (long row = 0; row < target.rows(); row += rows) {
            poll.run();
            kernel.normal(
                    target.rows(row, Math.min(rows, target.rows() - row)),
                    (tensor.held().first() + row) * target.cols(),
                    seed,
                    RandomStream.number(tensor.name()),
                    standardDeviation);
        }
    }
}
