package jlora.runtime.weight;

import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.RandomFillKernel;

/**
 * Fills a model with random weights as Transformers initialises them: matrices normal, norms one,
 * biases zero.
 */
public final class RandomInit {
    private RandomInit() {}

    /**
     * Each tensor's values depend on the seed and its name alone, and what is quantised is drawn in
     * the type of the weights first.
     */
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
            long first = tensor.held().first();
            int stream = RandomStream.number(tensor.name());
            WeightFill.fill(
                    backend,
                    tensor,
                    weights.dtype(),
                    (to, row) -> {
                        poll.run();
                        switch (tensor.init()) {
                            case ZEROS -> kernel.constant(to, 0);
                            case ONES -> kernel.constant(to, 1);
                            case NORMAL ->
                                    kernel.normal(
                                            to,
                                            (first + row) * to.cols(),
                                            seed,
                                            stream,
                                            standardDeviation);
                        }
                    });
        }
    }
}
