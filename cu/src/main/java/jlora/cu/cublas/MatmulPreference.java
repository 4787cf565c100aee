package jlora.cu.cublas;

import jlora.cu.sys.CublasLtConstants;

import java.lang.foreign.MemorySegment;

/** Which algorithms the heuristics may name. */
final class MatmulPreference extends LtObject {
    private MatmulPreference(CublasLt lt, long handle) {
        super(lt, "cublasLtMatmulPreference", handle);
    }

    /** Those that work with the shape's alignments, in so much workspace, and repeat to the bit. */
    static MatmulPreference create(CublasLt lt, MatmulShape shape, long workspaceBytes) {
        long[] created = new long[1];
        lt.check(
                "cublasLtMatmulPreferenceCreate",
                lt.sys().cublasLtMatmulPreferenceCreate(created),
                shape::toString);
        MatmulPreference preference = new MatmulPreference(lt, created[0]);
        try {
            preference.set(
                    CublasLtConstants.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspaceBytes);
            preference.set(
                    CublasLtConstants.CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                    CublasLtConstants.CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
            preference.set(
                    CublasLtConstants.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                    shape.a().alignment());
            preference.set(
                    CublasLtConstants.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                    shape.b().alignment());
            preference.set(
                    CublasLtConstants.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                    shape.d().alignment());
            preference.set(
                    CublasLtConstants.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
                    shape.d().alignment());
            return preference;
        } catch (RuntimeException | Error e) {
            preference.close();
            throw e;
        }
    }

    @Override
    int setAttribute(long object, int attribute, MemorySegment value) {
        return lt.sys().cublasLtMatmulPreferenceSetAttribute(object, attribute, value);
    }

    @Override
    int destroy(long object) {
        return lt.sys().cublasLtMatmulPreferenceDestroy(object);
    }
}
