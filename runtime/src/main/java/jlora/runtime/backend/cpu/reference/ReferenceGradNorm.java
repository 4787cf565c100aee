package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.GradNormKernel;
import jlora.runtime.tensor.Tensor;

/** {@link GradNormKernel} by definition. */
public final class ReferenceGradNorm implements GradNormKernel {
    @Override
    public void forward(Tensor norm, Tensor updates, Tensor gradient, float maxNorm) {
        double squares = 0;
        for (long i = 0; i < gradient.cols(); i++) {
            squares += Elements.get(gradient, 0, i) * Elements.get(gradient, 0, i);
        }
        double length = Math.sqrt(squares);
        Elements.set(norm, 0, 0, length);
        Elements.set(norm, 0, 1, maxNorm == 0 ? 1 : Math.min(1, maxNorm / (length + 1e-6)));
        if (Double.isFinite(Elements.get(norm, 0, 0))) {
            Elements.set(updates, 0, 0, Elements.get(updates, 0, 0) + 1);
        }
    }
}
