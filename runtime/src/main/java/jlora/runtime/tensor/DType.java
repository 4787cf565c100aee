package jlora.runtime.tensor;

/** The element types that jlora computes with or stores in its buffers. */
public enum DType {
    F32(4, "float32"),
    BF16(2, "bfloat16"),
    I32(4, "int32"),
    /** Bytes: the codes of quantised weights. */
    U8(1, "uint8"),
    /** 4 bits of exponent, 3 of mantissa, largest value 448, no infinity (arXiv 2209.05433). */
    F8_E4M3(1, "float8_e4m3fn");

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

    /** True for the types that hold weights and activations as they are, without scales. */
    public boolean isFloat() {
        return this == F32 || this == BF16;
    }
}
