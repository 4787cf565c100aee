package jlora.trainer.config;

/** What the frozen matrices of layers are stored as; {@code AUTO} is the type of the products. */
public enum WeightType {
    AUTO,
    FP8
}
