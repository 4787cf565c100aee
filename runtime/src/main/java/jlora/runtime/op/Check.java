package jlora.runtime.op;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

/**
 * Shape and type checks of ops, made when a plan is recorded: a mistake in model code fails before
 * anything runs.
 */
final class Check {
    private Check() {}

    static void shape(String op, Tensor tensor, long rows, long cols) {
        if (tensor.rows() != rows || tensor.cols() != cols) {
            throw new IllegalArgumentException(
                    op + ": " + tensor.describe() + " should be [" + rows + ", " + cols + "]");
        }
    }

    static void cols(String op, Tensor tensor, long cols) {
        shape(op, tensor, tensor.rows(), cols);
    }

    static void type(String op, Tensor tensor, DType dtype) {
        if (tensor.dtype() != dtype) {
            throw new IllegalArgumentException(
                    op + ": " + tensor.describe() + " should be " + dtype.torchName());
        }
    }

    static void sameType(String op, Tensor a, Tensor b) {
        type(op, b, a.dtype());
    }
}
