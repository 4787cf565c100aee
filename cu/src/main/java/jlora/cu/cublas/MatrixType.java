package jlora.cu.cublas;

import jlora.cu.sys.CublasLtConstants;

/** Element types of matrices that products take. */
public enum MatrixType {
    F32("f32", CublasLtConstants.CUDA_R_32F, 4),
    BF16("bf16", CublasLtConstants.CUDA_R_16BF, 2),
    /** FP8 with 4 bits of exponent and 3 of mantissa: weights and activations. */
    E4M3("e4m3", CublasLtConstants.CUDA_R_8F_E4M3, 1),
    /** FP8 with 5 bits of exponent and 2 of mantissa: gradients. */
    E5M2("e5m2", CublasLtConstants.CUDA_R_8F_E5M2, 1);

    private final String label;
    private final int code;
    private final int bytes;

    MatrixType(String label, int code, int bytes) {
        this.label = label;
        this.code = code;
        this.bytes = bytes;
    }

    /** Short name, as in shapes and cache files. */
    public String label() {
        return label;
    }

    /** The {@code cudaDataType_t}. */
    public int code() {
        return code;
    }

    /** Bytes of one element. */
    public int bytes() {
        return bytes;
    }

    boolean isFp8() {
        return bytes == 1;
    }
}
