package jlora.cu.cublas;

import jlora.cu.driver.CudaException;
import jlora.cu.sys.CublasLtConstants;

/** What a status of cuBLAS means, which are cuBLASLt's too. */
public final class CublasFailures {
    private CublasFailures() {}

    /** The exception for a call that was refused with such a code. */
    public static CudaException of(CudaException.Failure failure) {
        return switch (failure.code()) {
            case CublasLtConstants.CUBLAS_STATUS_ALLOC_FAILED ->
                    new CudaException.OutOfMemory(failure);
            case CublasLtConstants.CUBLAS_STATUS_EXECUTION_FAILED ->
                    new CudaException.ContextLost(failure);
            default -> new CudaException.CallFailed(failure);
        };
    }
}
