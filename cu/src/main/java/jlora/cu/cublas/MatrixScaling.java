package jlora.cu.cublas;

import jlora.cu.sys.CublasLtConstants;

/**
 * Which elements of an FP8 matrix have a factor in common, and how the factors lie ("Scaling
 * factors layouts" in cuBLASLt's documentation). Their addresses are multiples of 16 bytes.
 */
public enum MatrixScaling {
    /** One factor for all, or none. */
    SCALAR("", CublasLtConstants.CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F),
    /** A factor for each row of op(A) or column of op(B): f32[m] or [n]. Goes with itself alone. */
    OUTER_VECTOR(":rows", CublasLtConstants.CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F),
    /** A factor for 128 adjacent elements along k: f32[⌈k/128⌉] times m or n, those adjacent. */
    VECTOR_128(":1x128", CublasLtConstants.CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F),
    /**
     * A factor for 128 x 128 elements: those along k adjacent, in steps that are a multiple of 4.
     * Goes with {@link #VECTOR_128} alone.
     */
    BLOCK_128(":128x128", CublasLtConstants.CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F);

    private final String label;
    private final int code;

    MatrixScaling(String label, int code) {
        this.label = label;
        this.code = code;
    }

    /** As in shapes and cache files; nothing for a scalar. */
    String label() {
        return label;
    }

    /** The {@code cublasLtMatmulMatrixScale_t}. */
    int code() {
        return code;
    }
}
