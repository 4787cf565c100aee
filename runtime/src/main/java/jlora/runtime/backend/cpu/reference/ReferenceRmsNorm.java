package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.RmsNormKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/** {@link RmsNormKernel} by definition; the norm is that of the sum as it is stored. */
public final class ReferenceRmsNorm implements RmsNormKernel {
    @Override
    public void forward(
            Tensor out,
            Tensor rstd,
            Optional<Tensor> sum,
            Tensor x,
            Optional<Tensor> residual,
            Tensor weight,
            float eps) {
        Tensor s = ResidualSum.of(sum, x, residual);
        long cols = s.cols();
        for (long t = 0; t < s.rows(); t++) {
            double squares = 0;
            for (long c = 0; c < cols; c++) {
                squares += Elements.get(s, t, c) * Elements.get(s, t, c);
            }
            double r = 1 / Math.sqrt(squares / cols + eps);
            Elements.set(rstd, t, 0, r);
            for (long c = 0; c < cols; c++) {
                Elements.set(out, t, c, Elements.get(s, t, c) * r * Elements.get(weight, 0, c));
            }
        }
    }

    @Override
    public void backward(
            Tensor dx,
            Optional<Grad> dWeight,
            Tensor dOut,
            Optional<Tensor> dSum,
            Tensor sum,
            Tensor weight,
            Tensor rstd) {
        long cols = sum.cols();
        double[] weightGradient = new double[Math.toIntExact(cols)];
        for (long t = 0; t < sum.rows(); t++) {
            double r = Elements.get(rstd, t, 0);
            double projection = 0;
            for (long c = 0; c < cols; c++) {
                double normal = Elements.get(sum, t, c) * r;
                projection += Elements.get(dOut, t, c) * Elements.get(weight, 0, c) * normal;
                weightGradient[(int) c] += Elements.get(dOut, t, c) * normal;
            }
            for (long c = 0; c < cols; c++) {
                double normal = Elements.get(sum, t, c) * r;
                double scaled = Elements.get(dOut, t, c) * Elements.get(weight, 0, c);
                double past = dSum.isPresent() ? Elements.get(dSum.get(), t, c) : 0;
                Elements.set(dx, t, c, past + r * (scaled - normal * projection / cols));
            }
        }
        dWeight.ifPresent(
                grad -> {
                    for (int c = 0; c < cols; c++) {
                        Elements.put(grad, 0, c, weightGradient[c]);
                    }
                });
    }
}
