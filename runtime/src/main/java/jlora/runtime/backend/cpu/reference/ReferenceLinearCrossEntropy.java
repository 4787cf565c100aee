package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.LinearCrossEntropyKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/** {@link LinearCrossEntropyKernel} by definition: row by row, without the workspace. */
public final class ReferenceLinearCrossEntropy implements LinearCrossEntropyKernel {
    private static final int NO_TARGET = -100;

    @Override
    public void forward(
            Tensor loss,
            Tensor x,
            Tensor weight,
            Tensor targets,
            Tensor scale,
            float labelSmoothing,
            long mostTargets,
            Workspace workspace) {
        double total = 0;
        for (long t = 0; t < x.rows(); t++) {
            int target = Elements.getInt(targets, 0, t);
            if (target != NO_TARGET) {
                total +=
                        Elements.get(scale, 0, t)
                                * loss(logProbabilities(x, weight, t), target, labelSmoothing);
            }
        }
        Elements.set(loss, 0, 0, total);
    }

    @Override
    public void forwardBackward(
            Tensor loss,
            Tensor dx,
            Optional<Grad> dWeight,
            Tensor x,
            Tensor weight,
            Tensor targets,
            Tensor scale,
            float labelSmoothing,
            long mostTargets,
            Workspace workspace) {
        forward(loss, x, weight, targets, scale, labelSmoothing, mostTargets, workspace);
        int vocabulary = Math.toIntExact(weight.rows());
        int cols = Math.toIntExact(weight.cols());
        double[][] weightGradient = new double[dWeight.isPresent() ? vocabulary : 0][cols];
        for (long t = 0; t < x.rows(); t++) {
            double[] inputGradient = new double[cols];
            int target = Elements.getInt(targets, 0, t);
            if (target != NO_TARGET) {
                double[] logProbabilities = logProbabilities(x, weight, t);
                boolean finite = Double.isFinite(loss(logProbabilities, target, labelSmoothing));
                for (int v = 0; v < vocabulary; v++) {
                    double wanted =
                            (v == target ? 1 - (double) labelSmoothing : 0)
                                    + (double) labelSmoothing / vocabulary;
                    double dLogit =
                            finite
                                    ? Elements.get(scale, 0, t)
                                            * (Math.exp(logProbabilities[v]) - wanted)
                                    : Double.NaN;
                    for (int k = 0; k < cols; k++) {
                        inputGradient[k] += dLogit * Elements.get(weight, v, k);
                        if (dWeight.isPresent()) {
                            weightGradient[v][k] += dLogit * Elements.get(x, t, k);
                        }
                    }
                }
            }
            for (int k = 0; k < cols; k++) {
                Elements.set(dx, t, k, inputGradient[k]);
            }
        }
        dWeight.ifPresent(
                grad -> {
                    for (int v = 0; v < vocabulary; v++) {
                        for (int k = 0; k < cols; k++) {
                            Elements.put(grad, v, k, weightGradient[v][k]);
                        }
                    }
                });
    }

    /** Infinite where it is beyond f32. */
    private static double loss(double[] logProbabilities, int target, double labelSmoothing) {
        double sum = 0;
        for (double logProbability : logProbabilities) {
            sum += logProbability;
        }
        double loss =
                -(1 - labelSmoothing) * logProbabilities[target]
                        - labelSmoothing * sum / logProbabilities.length;
        return Float.isFinite((float) loss) ? loss : (float) loss;
    }

    private static double[] logProbabilities(Tensor x, Tensor weight, long t) {
        double[] logits = new double[Math.toIntExact(weight.rows())];
        double largest = Double.NEGATIVE_INFINITY;
        for (int v = 0; v < logits.length; v++) {
            for (long k = 0; k < weight.cols(); k++) {
                logits[v] += Elements.get(x, t, k) * Elements.get(weight, v, k);
            }
            largest = Math.max(largest, logits[v]);
        }
        double total = 0;
        for (double logit : logits) {
            total += Math.exp(logit - largest);
        }
        double logSum = largest + Math.log(total);
        for (int v = 0; v < logits.length; v++) {
            logits[v] -= logSum;
        }
        return logits;
    }
}
