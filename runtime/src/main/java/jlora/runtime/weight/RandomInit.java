package jlora.runtime.weight;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.Bf16;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Fills a model with random weights as Transformers initialises them: matrices normal, norms one,
 * biases zero.
 */
public final class RandomInit {
    private RandomInit() {}

    /** Each tensor's values depend on the seed and its name alone. */
    public static void fill(
            Backend backend, ModelWeights weights, double standardDeviation, long seed) {
        // Tensors are independent, so drawing them in parallel changes nothing.
        weights.checkpoint().parallelStream()
                .forEach(t -> fill(backend, t, standardDeviation, seed));
    }

    private static void fill(
            Backend backend, CheckpointTensor tensor, double standardDeviation, long seed) {
        Tensor target = tensor.target();
        RandomStream random = new RandomStream(seed, tensor.name());
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment row = arena.allocate(target.cols() * target.dtype().bytes(), 16);
            for (long r = 0; r < target.rows(); r++) {
                for (long c = 0; c < target.cols(); c++) {
                    float value =
                            switch (tensor.init()) {
                                case ZEROS -> 0;
                                case ONES -> 1;
                                case NORMAL -> (float) (random.normal() * standardDeviation);
                            };
                    if (target.dtype() == DType.F32) {
                        row.setAtIndex(ValueLayout.JAVA_FLOAT, c, value);
                    } else {
                        row.setAtIndex(ValueLayout.JAVA_SHORT, c, Bf16.fromFloat(value));
                    }
                }
                backend.upload(target.rows(r, 1), row);
            }
        }
    }
}
