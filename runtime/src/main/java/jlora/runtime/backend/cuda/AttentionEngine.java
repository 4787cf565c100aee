package jlora.runtime.backend.cuda;

/** Who computes attention on a GPU. */
public enum AttentionEngine {
    /** cuDNN where it is installed, can do what is asked for and agrees with our kernels. */
    AUTO,
    /** cuDNN's fused kernels, or an error. */
    CUDNN,
    /** The project's kernels. */
    OWN
}
