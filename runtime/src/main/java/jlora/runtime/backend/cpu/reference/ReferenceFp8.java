package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.Fp8Kernel;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/** {@link Fp8Kernel} by definition. */
public final class ReferenceFp8 implements Fp8Kernel {
    @Override
    public void requireProducts(Scaling weights) {}

    @Override
    public void quantize(Fp8Matrix to, Tensor from, Optional<Tensor> factors) {
        long down = to.scaling() == Scaling.BLOCK ? Fp8Matrix.BLOCK : 1;
        long across = to.scaling() == Scaling.ROW ? to.cols() : Fp8Matrix.BLOCK;
        for (long row = 0; row < to.rows(); row += down) {
            long rows = Math.min(down, to.rows() - row);
            for (long col = 0; col < to.cols(); col += across) {
                long cols = Math.min(across, to.cols() - col);
                quantizeGroup(to, from, factors, row, rows, col, cols);
            }
        }
    }

    /** Elements that share a scale. */
    private static void quantizeGroup(
            Fp8Matrix to,
            Tensor from,
            Optional<Tensor> factors,
            long row,
            long rows,
            long col,
            long cols) {
        float largest = Fp8Matrix.LEAST_MAGNITUDE;
        for (long r = row; r < row + rows; r++) {
            for (long c = col; c < col + cols; c++) {
                float magnitude = Math.abs(element(from, factors, r, c));
                if (magnitude > largest) {
                    largest = magnitude;
                }
            }
        }
        float reciprocal = Fp8Matrix.LARGEST / largest;
        for (long r = row; r < row + rows; r++) {
            for (long c = col; c < col + cols; c++) {
                Elements.set(to.codes(), r, c, element(from, factors, r, c) * reciprocal);
            }
        }
        Tensor scales = to.scales().orElseThrow();
        float scale = largest / Fp8Matrix.LARGEST;
        switch (to.scaling()) {
            case NONE -> throw new IllegalArgumentException(to + " has no scales to quantise by");
            case ROW -> Elements.set(scales, 0, row, scale);
            case PIECE -> Elements.set(scales, col / Fp8Matrix.BLOCK, row, scale);
            case BLOCK -> Elements.set(scales, row / Fp8Matrix.BLOCK, col / Fp8Matrix.BLOCK, scale);
        }
    }

    private static float element(Tensor from, Optional<Tensor> factors, long row, long col) {
        float value = (float) Elements.get(from, row, col);
        return factors.isPresent() ? value * (float) Elements.get(factors.get(), 0, col) : value;
    }

    @Override
    public void transpose(Fp8Matrix to, Fp8Matrix from) {
        transpose(to.codes(), from.codes());
        if (from.scaling() == Scaling.BLOCK) {
            transpose(to.scales().orElseThrow(), from.scales().orElseThrow());
        }
    }

    private static void transpose(Tensor to, Tensor from) {
        for (long r = 0; r < from.rows(); r++) {
            for (long c = 0; c < from.cols(); c++) {
                Elements.set(to, c, r, Elements.get(from, r, c));
            }
        }
    }

    @Override
    public void multiply(Tensor out, Fp8Matrix x, Fp8Matrix weight, boolean accumulate) {
        Fp8Matrix.checkProduct(out, x, weight);
        for (long t = 0; t < out.rows(); t++) {
            for (long n = 0; n < out.cols(); n++) {
                double sum = accumulate ? Elements.get(out, t, n) : 0;
                for (long k = 0; k < x.cols(); k++) {
                    sum += element(x, t, k) * element(weight, n, k);
                }
                Elements.set(out, t, n, sum);
            }
        }
    }

    @Override
    public void dequantize(Tensor to, Fp8Matrix from) {
        for (long r = 0; r < to.rows(); r++) {
            for (long c = 0; c < to.cols(); c++) {
                Elements.set(to, r, c, (float) element(from, r, c));
            }
        }
    }

    /** A code's value times its scale; the product of two floats is exact in a double. */
    private static double element(Fp8Matrix matrix, long row, long col) {
        double value = Elements.get(matrix.codes(), row, col);
        return switch (matrix.scaling()) {
            case NONE -> value;
            case ROW -> value * scale(matrix, 0, row);
            case PIECE -> value * scale(matrix, col / Fp8Matrix.BLOCK, row);
            case BLOCK -> value * scale(matrix, row / Fp8Matrix.BLOCK, col / Fp8Matrix.BLOCK);
        };
    }

    private static double scale(Fp8Matrix matrix, long row, long col) {
        return Elements.get(matrix.scales().orElseThrow(), row, col);
    }
}
