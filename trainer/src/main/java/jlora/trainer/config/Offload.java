package jlora.trainer.config;

/** Where the frozen matrices of layers stay. */
public enum Offload {
    /** In the memory of the device. */
    NONE,
    /** In page-locked memory of the host. */
    HOST
}
