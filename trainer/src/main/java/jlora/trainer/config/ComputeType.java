package jlora.trainer.config;

/** The type of weights and products; {@code AUTO} is float32 on a CPU and bfloat16 on a GPU. */
public enum ComputeType {
    AUTO,
    FLOAT32,
    BFLOAT16
}
