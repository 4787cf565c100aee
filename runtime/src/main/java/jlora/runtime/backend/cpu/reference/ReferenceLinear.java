package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/** {@link LinearKernel} by definition. */
public final class ReferenceLinear implements LinearKernel {
    @Override
    public void forward(Tensor out, Tensor x, Tensor weight, Optional<Tensor> bias) {
        for (long t = 0; t < out.rows(); t++) {
            for (long n = 0; n < out.cols(); n++) {
                double sum = bias.isPresent() ? Elements.get(bias.get(), 0, n) : 0;
                for (long k = 0; k < x.cols(); k++) {
                    sum += Elements.get(x, t, k) * Elements.get(weight, n, k);
                }
                Elements.set(out, t, n, sum);
            }
        }
    }

    @Override
    public void backwardInput(Grad dx, Tensor dOut, Tensor weight) {
        for (long t = 0; t < dx.tensor().rows(); t++) {
            for (long k = 0; k < dx.tensor().cols(); k++) {
                double sum = 0;
                for (long n = 0; n < dOut.cols(); n++) {
                    sum += Elements.get(dOut, t, n) * Elements.get(weight, n, k);
                }
                Elements.put(dx, t, k, sum);
            }
        }
    }

    @Override
    public void backwardWeight(Grad dWeight, Tensor dOut, Tensor x, float scale) {
        for (long n = 0; n < dWeight.tensor().rows(); n++) {
            for (long k = 0; k < dWeight.tensor().cols(); k++) {
                double sum = 0;
                for (long t = 0; t < dOut.rows(); t++) {
                    sum += Elements.get(dOut, t, n) * Elements.get(x, t, k);
                }
                Elements.put(dWeight, n, k, scale * sum);
            }
        }
    }

    @Override
    public void backwardBias(Grad dBias, Tensor dOut) {
        for (long n = 0; n < dBias.tensor().cols(); n++) {
            double sum = 0;
            for (long t = 0; t < dOut.rows(); t++) {
                sum += Elements.get(dOut, t, n);
            }
            Elements.put(dBias, 0, n, sum);
        }
    }
}
