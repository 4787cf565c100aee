package jlora.cu.cublas;

import jlora.cu.sys.CublasLtConstants;

import java.lang.foreign.MemorySegment;

/** What is done: sums in f32, transposes, epilogue, scales. */
final class MatmulDescriptor extends LtObject {
    private MatmulDescriptor(CublasLt lt, long handle) {
        super(lt, "cublasLtMatmulDesc", handle);
    }

    static MatmulDescriptor create(CublasLt lt, MatmulShape shape) {
        long[] created = new long[1];
        lt.check(
                "cublasLtMatmulDescCreate",
                lt.sys()
                        .cublasLtMatmulDescCreate(
                                created,
                                CublasLtConstants.CUBLAS_COMPUTE_32F,
                                CublasLtConstants.CUDA_R_32F),
                shape::toString);
        MatmulDescriptor descriptor = new MatmulDescriptor(lt, created[0]);
        try {
            descriptor.set(CublasLtConstants.CUBLASLT_MATMUL_DESC_TRANSA, operation(shape.a()));
            descriptor.set(CublasLtConstants.CUBLASLT_MATMUL_DESC_TRANSB, operation(shape.b()));
            if (shape.finelyScaled()) {
                descriptor.set(
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_A_SCALE_MODE,
                        shape.a().scaling().code());
                descriptor.set(
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_B_SCALE_MODE,
                        shape.b().scaling().code());
                // Heuristics may ask whether there are factors; these are not read.
                descriptor.scales(MatmulShape.ALIGNMENT, MatmulShape.ALIGNMENT);
            }
            if (shape.bias()) {
                boolean fp8 = shape.a().type().isFp8() || shape.d().type().isFp8();
                descriptor.set(
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_EPILOGUE,
                        CublasLtConstants.CUBLASLT_EPILOGUE_BIAS);
                descriptor.set(
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                        (fp8 ? MatrixType.BF16 : shape.d().type()).code());
                // Heuristics read from the pointer how far a bias is aligned.
                descriptor.bias(shape.d().alignment());
            }
            return descriptor;
        } catch (RuntimeException | Error e) {
            descriptor.close();
            throw e;
        }
    }

    private static int operation(MatmulShape.Matrix matrix) {
        return matrix.transposed() ? CublasLtConstants.CUBLAS_OP_T : CublasLtConstants.CUBLAS_OP_N;
    }

    /** Device address of the bias vector. */
    void bias(long address) {
        set(CublasLtConstants.CUBLASLT_MATMUL_DESC_BIAS_POINTER, address);
    }

    /** Device addresses of the f32 factors of FP8 matrices; 0 for one. */
    void scales(long a, long b) {
        set(CublasLtConstants.CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, a);
        set(CublasLtConstants.CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, b);
    }

    @Override
    int setAttribute(long object, int attribute, MemorySegment value) {
        return lt.sys().cublasLtMatmulDescSetAttribute(object, attribute, value);
    }

    @Override
    int destroy(long object) {
        return lt.sys().cublasLtMatmulDescDestroy(object);
    }
}
