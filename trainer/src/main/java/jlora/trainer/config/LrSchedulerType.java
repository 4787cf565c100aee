package jlora.trainer.config;

/** How the learning rate moves over the steps, named as in Transformers. */
public enum LrSchedulerType {
    CONSTANT,
    CONSTANT_WITH_WARMUP,
    LINEAR,
    COSINE
}
