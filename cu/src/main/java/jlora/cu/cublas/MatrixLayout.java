package jlora.cu.cublas;

import java.lang.foreign.MemorySegment;

/** How a matrix is stored, column-major. */
final class MatrixLayout extends LtObject {
    private MatrixLayout(CublasLt lt, long handle) {
        super(lt, "cublasLtMatrixLayout", handle);
    }

    /**
     * @param rows of op(X)
     * @param cols of op(X)
     */
    static MatrixLayout create(CublasLt lt, MatmulShape.Matrix matrix, long rows, long cols) {
        long[] created = new long[1];
        lt.check(
                "cublasLtMatrixLayoutCreate",
                lt.sys()
                        .cublasLtMatrixLayoutCreate(
                                created,
                                matrix.type().code(),
                                matrix.transposed() ? cols : rows,
                                matrix.transposed() ? rows : cols,
                                matrix.leadingDimension()),
                () -> matrix + " of " + rows + "x" + cols);
        return new MatrixLayout(lt, created[0]);
    }

    @Override
    int setAttribute(long object, int attribute, MemorySegment value) {
        return lt.sys().cublasLtMatrixLayoutSetAttribute(object, attribute, value);
    }

    @Override
    int destroy(long object) {
        return lt.sys().cublasLtMatrixLayoutDestroy(object);
    }
}
