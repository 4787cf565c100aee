package jlora.trainer.config;

/** What is trained: low-rank adapters over frozen weights, or every weight. */
public enum TrainingMethod {
    LORA,
    FULL
}
