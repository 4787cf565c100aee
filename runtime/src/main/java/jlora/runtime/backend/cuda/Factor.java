package jlora.runtime.backend.cuda;

import jlora.runtime.tensor.Tensor;

/** One factor of a product: a tensor, used transposed or as it is. */
record Factor(Tensor tensor, boolean transposed) {
    static Factor plain(Tensor tensor) {
        return new Factor(tensor, false);
    }

    static Factor transposed(Tensor tensor) {
        return new Factor(tensor, true);
    }

    long rows() {
        return transposed ? tensor.cols() : tensor.rows();
    }

    long cols() {
        return transposed ? tensor.rows() : tensor.cols();
    }

    /** Elements from one row of the factor to the next. */
    long rowStride() {
        return transposed ? 1 : tensor.stride();
    }

    /** Elements from one column of the factor to the next. */
    long colStride() {
        return transposed ? tensor.stride() : 1;
    }

    @Override
    public String toString() {
        return tensor.describe() + (transposed ? " transposed" : "");
    }
}
