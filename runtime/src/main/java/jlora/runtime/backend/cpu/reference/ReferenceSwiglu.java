package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.SwigluKernel;
import jlora.runtime.tensor.Tensor;

/** {@link SwigluKernel} by definition. */
public final class ReferenceSwiglu implements SwigluKernel {
    @Override
    public void forward(Tensor out, Tensor gateUp) {
        for (long t = 0; t < out.rows(); t++) {
            for (long f = 0; f < out.cols(); f++) {
                double gate = Elements.get(gateUp, t, f);
                double up = Elements.get(gateUp, t, out.cols() + f);
                Elements.set(out, t, f, gate * sigmoid(gate) * up);
            }
        }
    }

    @Override
    public void backward(Tensor dGateUp, Tensor dOut, Tensor gateUp) {
        for (long t = 0; t < dOut.rows(); t++) {
            for (long f = 0; f < dOut.cols(); f++) {
                double gate = Elements.get(gateUp, t, f);
                double up = Elements.get(gateUp, t, dOut.cols() + f);
                double d = Elements.get(dOut, t, f);
                double sigmoid = sigmoid(gate);
                Elements.set(dGateUp, t, f, d * up * sigmoid * (1 + gate * (1 - sigmoid)));
                Elements.set(dGateUp, t, dOut.cols() + f, d * gate * sigmoid);
            }
        }
    }

    private static double sigmoid(double z) {
        return 1 / (1 + Math.exp(-z));
    }
}
