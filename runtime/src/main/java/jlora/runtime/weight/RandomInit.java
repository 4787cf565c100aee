package jlora.runtime.weight;

import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.RandomFillKernel;
import jlora.runtime.tensor.Tensor;

/**
 * Fills a model with random weights as Transformers initialises them: matrices normal, norms one,
 * biases zero.
 */
public final class RandomInit {
    private RandomInit() {}

    /** Each tensor's values depend on the seed and its name alone. */
    public static void fill(
            Backend backend, ModelWeights weights, double standardDeviation, long seed) {
        fill(backend, weights, standardDeviation, seed, () -> {});
    }

    /**
     * The same.
     *
     * @param poll called before each tensor; what it throws ends the filling
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
                case NORMAL ->
                        kernel.normal(
                                target,
                                tensor.held().first() * target.cols(),
                                seed,
                                RandomStream.number(tensor.name()),
                                standardDeviation);
            }
        }
    }
}
