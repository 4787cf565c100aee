package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.tensor.Tensor;

/** {@link GeluKernel} by definition. */
public final class ReferenceGelu implements GeluKernel {
    private static final double TANH_SCALE = Math.sqrt(2 / Math.PI);
    private static final double TANH_CUBIC = 0.044715;

    @Override
    public void forward(Tensor out, Tensor x, Form form) {
        for (long t = 0; t < out.rows(); t++) {
            for (long c = 0; c < out.cols(); c++) {
                Elements.set(out, t, c, gelu(Elements.get(x, t, c), form));
            }
        }
    }

    @Override
    public void backward(Tensor dx, Tensor dOut, Tensor x, Form form) {
        for (long t = 0; t < dx.rows(); t++) {
            for (long c = 0; c < dx.cols(); c++) {
                double slope = slope(Elements.get(x, t, c), form);
                Elements.set(dx, t, c, Elements.get(dOut, t, c) * slope);
            }
        }
    }

    private static double gelu(double x, Form form) {
        return switch (form) {
            case ERF -> x * NormalDistribution.cumulative(x);
            case TANH -> 0.5 * x * (1 + Math.tanh(tanhArgument(x)));
        };
    }

    private static double slope(double x, Form form) {
        return switch (form) {
            case ERF -> NormalDistribution.cumulative(x) + x * NormalDistribution.density(x);
            case TANH -> {
                double tanh = Math.tanh(tanhArgument(x));
                double inner = TANH_SCALE * (1 + 3 * TANH_CUBIC * x * x);
                yield 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * inner;
            }
        };
    }

    private static double tanhArgument(double x) {
        return TANH_SCALE * (x + TANH_CUBIC * x * x * x);
    }
}
