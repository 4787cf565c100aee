package jlora.cu.sys;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import jlora.cu.CudaLibraries;
import jlora.cu.MissingLibraryException;
import jlora.cu.NativeLibrary;

import org.junit.jupiter.api.Test;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The real cuBLASLt, where it is installed; what is called here needs no GPU. */
class CublasLtLibraryTest {
    private static final int CUDA_13 = 13000;

    @Test
    void everyFunctionIsThere() {
        CublasLtSys lt = open();
        assertTrue(lt.cublasLtGetVersion() >= 120000, "version " + lt.cublasLtGetVersion());
        assertEquals(
                "CUBLAS_STATUS_NOT_SUPPORTED",
                lt.cublasLtGetStatusName(CublasLtConstants.CUBLAS_STATUS_NOT_SUPPORTED));
    }

    @Test
    void descriptorsTakeTheAttributes() {
        CublasLtSys lt = open();
        long[] handle = new long[1];
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment word = arena.allocateFrom(ValueLayout.JAVA_INT, 1);
            MemorySegment pointer = arena.allocateFrom(ValueLayout.JAVA_LONG, 256);
            ok(
                    lt.cublasLtMatmulDescCreate(
                            handle,
                            CublasLtConstants.CUBLAS_COMPUTE_32F,
                            CublasLtConstants.CUDA_R_32F));
            for (int attribute :
                    new int[] {
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_TRANSA,
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_TRANSB,
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_EPILOGUE,
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_A_SCALE_MODE,
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_B_SCALE_MODE
                    }) {
                ok(lt.cublasLtMatmulDescSetAttribute(handle[0], attribute, word));
            }
            for (int attribute :
                    new int[] {
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_A_SCALE_POINTER,
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_B_SCALE_POINTER,
                        CublasLtConstants.CUBLASLT_MATMUL_DESC_D_SCALE_POINTER
                    }) {
                ok(lt.cublasLtMatmulDescSetAttribute(handle[0], attribute, pointer));
                assertEquals(
                        CublasLtConstants.CUBLAS_STATUS_INVALID_VALUE,
                        lt.cublasLtMatmulDescSetAttribute(handle[0], attribute, word),
                        "a pointer of 4 bytes");
            }
            MemorySegment flag = arena.allocateFrom(ValueLayout.JAVA_BYTE, (byte) 1);
            ok(
                    lt.cublasLtMatmulDescSetAttribute(
                            handle[0], CublasLtConstants.CUBLASLT_MATMUL_DESC_FAST_ACCUM, flag));
            ok(lt.cublasLtMatmulDescDestroy(handle[0]));

            ok(lt.cublasLtMatrixLayoutCreate(handle, CublasLtConstants.CUDA_R_8F_E4M3, 64, 32, 80));
            ok(lt.cublasLtMatrixLayoutDestroy(handle[0]));

            ok(lt.cublasLtMatmulPreferenceCreate(handle));
            ok(
                    lt.cublasLtMatmulPreferenceSetAttribute(
                            handle[0],
                            CublasLtConstants.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                            pointer));
            for (int attribute :
                    new int[] {
                        CublasLtConstants.CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                        CublasLtConstants.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                        CublasLtConstants.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                        CublasLtConstants.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                        CublasLtConstants.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES
                    }) {
                ok(lt.cublasLtMatmulPreferenceSetAttribute(handle[0], attribute, word));
            }
            ok(lt.cublasLtMatmulPreferenceDestroy(handle[0]));
        }
    }

    private static void ok(int status) {
        assertEquals(CublasLtConstants.CUBLAS_STATUS_SUCCESS, status);
    }

    private static CublasLtSys open() {
        try {
            NativeLibrary library = CudaLibraries.find().cublasLt(CUDA_13);
            System.out.println("cuBLASLt: " + library.path());
            return new CublasLtSys(library.symbols());
        } catch (MissingLibraryException e) {
            return abort(e.getMessage());
        }
    }
}
