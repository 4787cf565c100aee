package jlora.runtime.tensor;

/** The element types that jlora computes with or stores in its buffers. */
public enum DType {
    F32(4, "float32"),
    BF16(2, "bfloat16"),
    I32(4, "int32");

    private final int bytes;
    private final String torchName;

    DType(int bytes, String torchName) {
        this.bytes = bytes;
        this.torchName = torchName;
    }

    /** Bytes of one element. */
    public int bytes() {
        return bytes;
    }

    /** The name that PyTorch and configuration files use, such as {@code bfloat16}. */
    public String torchName() {
        return torchName;
    }

    /** True for the types that hold weights and activations. */
    public boolean isFloat() {
        return this != I32;
    }
}
