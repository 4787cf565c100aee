package jlora.cu.sys;

/**
 * Values from {@code cublasLt.h}, {@code cublas_api.h} and {@code library_types.h} that jlora uses,
 * by their names there; a test compares them with the headers.
 */
public final class CublasLtConstants {
    // cublasStatus_t
    public static final int CUBLAS_STATUS_SUCCESS = 0;
    public static final int CUBLAS_STATUS_NOT_INITIALIZED = 1;
    public static final int CUBLAS_STATUS_ALLOC_FAILED = 3;
    public static final int CUBLAS_STATUS_INVALID_VALUE = 7;
    public static final int CUBLAS_STATUS_ARCH_MISMATCH = 8;
    public static final int CUBLAS_STATUS_EXECUTION_FAILED = 13;
    public static final int CUBLAS_STATUS_NOT_SUPPORTED = 15;

    // cudaDataType_t
    public static final int CUDA_R_32F = 0;
    public static final int CUDA_R_16BF = 14;
    public static final int CUDA_R_8F_E4M3 = 28;
    public static final int CUDA_R_8F_E5M2 = 29;

    // cublasComputeType_t: f32 sums, and f32 operands as they are (the TF32 variants have names
    // of their own)
    public static final int CUBLAS_COMPUTE_32F = 68;

    // cublasOperation_t
    public static final int CUBLAS_OP_N = 0;
    public static final int CUBLAS_OP_T = 1;

    // cublasLtMatmulDescAttributes_t
    public static final int CUBLASLT_MATMUL_DESC_TRANSA = 3;
    public static final int CUBLASLT_MATMUL_DESC_TRANSB = 4;
    public static final int CUBLASLT_MATMUL_DESC_EPILOGUE = 7;
    public static final int CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8;
    public static final int CUBLASLT_MATMUL_DESC_A_SCALE_POINTER = 17;
    public static final int CUBLASLT_MATMUL_DESC_B_SCALE_POINTER = 18;
    public static final int CUBLASLT_MATMUL_DESC_D_SCALE_POINTER = 20;
    public static final int CUBLASLT_MATMUL_DESC_FAST_ACCUM = 25;
    public static final int CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE = 26;
    public static final int CUBLASLT_MATMUL_DESC_A_SCALE_MODE = 31;
    public static final int CUBLASLT_MATMUL_DESC_B_SCALE_MODE = 32;

    // cublasLtMatmulMatrixScale_t: the last three since 12.9
    public static final int CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F = 0;
    public static final int CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F = 3;
    public static final int CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F = 4;
    public static final int CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F = 5;

    // cublasLtEpilogue_t
    public static final int CUBLASLT_EPILOGUE_DEFAULT = 1;
    public static final int CUBLASLT_EPILOGUE_BIAS = 4;

    // cublasLtMatmulPreferenceAttributes_t
    public static final int CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1;
    public static final int CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3;
    public static final int CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5;
    public static final int CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6;
    public static final int CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7;
    public static final int CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8;

    // cublasLtReductionScheme_t
    public static final int CUBLASLT_REDUCTION_SCHEME_NONE = 0;
    public static final int CUBLASLT_REDUCTION_SCHEME_INPLACE = 1;
    public static final int CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2;
    public static final int CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE = 4;

    // cublasLtMatmulAlgoConfigAttributes_t
    public static final int CUBLASLT_ALGO_CONFIG_ID = 0;
    public static final int CUBLASLT_ALGO_CONFIG_TILE_ID = 1;
    public static final int CUBLASLT_ALGO_CONFIG_SPLITK_NUM = 2;
    public static final int CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME = 3;

    private CublasLtConstants() {}
}
