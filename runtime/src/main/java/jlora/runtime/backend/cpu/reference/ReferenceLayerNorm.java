package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.LayerNormKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/** {@link LayerNormKernel} by definition; the norm is that of the sum as it is stored. */
public final class ReferenceLayerNorm implements LayerNormKernel {
    @Override
    public void forward(
            Tensor out,
            Tensor stats,
            Optional<Tensor> sum,
            Tensor x,
            Optional<Tensor> residual,
            Tensor weight,
            Tensor bias,
            float eps) {
        Tensor s = ResidualSum.of(sum, x, residual);
        long cols = s.cols();
        for (long t = 0; t < s.rows(); t++) {
            double total = 0;
            for (long c = 0; c < cols; c++) {
                total += Elements.get(s, t, c);
            }
            double mean = total / cols;
            double squares = 0;
            for (long c = 0; c < cols; c++) {
                double centred = Elements.get(s, t, c) - mean;
                squares += centred * centred;
            }
            double rstd = 1 / Math.sqrt(squares / cols + eps);
            Elements.set(stats, t, 0, mean);
            Elements.set(stats, t, 1, rstd);
            for (long c = 0; c < cols; c++) {
                double normal = (Elements.get(s, t, c) - mean) * rstd;
                Elements.set(
                        out, t, c, normal * Elements.get(weight, 0, c) + Elements.get(bias, 0, c));
            }
        }
    }

    @Override
    public void backward(
            Tensor dx,
            Optional<Grad> dWeight,
            Optional<Grad> dBias,
            Tensor dOut,
            Optional<Tensor> dSum,
            Tensor sum,
            Tensor weight,
            Tensor stats) {
        int cols = Math.toIntExact(sum.cols());
        double[] weightGradient = new double[cols];
        double[] biasGradient = new double[cols];
        for (long t = 0; t < sum.rows(); t++) {
            double mean = Elements.get(stats, t, 0);
            double rstd = Elements.get(stats, t, 1);
            double total = 0;
            double projection = 0;
            for (int c = 0; c < cols; c++) {
                double normal = (Elements.get(sum, t, c) - mean) * rstd;
                double gradient = Elements.get(dOut, t, c);
                total += gradient * Elements.get(weight, 0, c);
                projection += gradient * Elements.get(weight, 0, c) * normal;
                weightGradient[c] += gradient * normal;
                biasGradient[c] += gradient;
            }
            for (int c = 0; c < cols; c++) {
                double normal = (Elements.get(sum, t, c) - mean) * rstd;
                double scaled = Elements.get(dOut, t, c) * Elements.get(weight, 0, c);
                double past = dSum.isPresent() ? Elements.get(dSum.get(), t, c) : 0;
                Elements.set(
                        dx,
                        t,
                        c,
                        past + rstd * (scaled - total / cols - normal * projection / cols));
            }
        }
        dWeight.ifPresent(grad -> putRow(grad, weightGradient));
        dBias.ifPresent(grad -> putRow(grad, biasGradient));
    }

    private static void putRow(Grad target, double[] values) {
        for (int c = 0; c < values.length; c++) {
            Elements.put(target, 0, c, values[c]);
        }
    }
}
