package jlora.runtime.model;

/**
 * What every architecture's configuration answers.
 *
 * @param modelType the {@code model_type} of config.json
 * @param vocabSize V
 * @param hiddenSize C
 * @param layers transformer layers
 * @param maxPositions the longest sequence that the model allows
 * @param initializerRange standard deviation of randomly initialised weights
 * @param tiedHead true when the output head is the embedding table
 */
public record ModelConfig(
        String modelType,
        int vocabSize,
        int hiddenSize,
        int layers,
        int maxPositions,
        double initializerRange,
        boolean tiedHead) {}
