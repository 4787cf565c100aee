package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

import jlora.runtime.tensor.Tensor;

import java.util.Arrays;

/**
 * Softmax cross-entropy of one row of logits with a smoothed target: q = (1−ε)·onehot(y) + ε/V,
 * loss = −Σ q·log p. Works through the row in stretches that stay in the first-level cache; sums
 * run in f32 within a stretch and in f64 beyond.
 */
final class CrossEntropyRow {
    private static final int STRETCH = 1024;

    private final float[] values = new float[STRETCH];
    private final int cols;
    private final float smoothing;

    CrossEntropyRow(int cols, float smoothing) {
        this.cols = cols;
        this.smoothing = smoothing;
    }

    /** The loss of a row; leaves exp(logit − largest) in it for {@link #gradient} when asked. */
    Result loss(Tensor logits, int row, int target, boolean keepExponentials) {
        float targetLogit = Rows.f32(logits, row, target);
        float largest = largest(logits, row);
        double sum = 0;
        double logitSum = 0;
        for (int col = 0; col < cols; col += STRETCH) {
            int count = load(logits, row, col);
            if (smoothing != 0f) {
                logitSum += Sums.sum(values, VectorMath.padded(count));
            }
            Arrays.fill(values, count, VectorMath.padded(count), Float.NEGATIVE_INFINITY);
            sum += exponentials(largest, VectorMath.padded(count));
            if (keepExponentials) {
                Rows.store(logits, row, col, values, 0, count);
            }
        }
        double logSum = largest + Math.log(sum);
        double loss = logSum - (1 - smoothing) * (double) targetLogit;
        if (smoothing != 0f) {
            loss -= smoothing * (logitSum / cols);
        }
        return new Result(Float.isFinite((float) loss) ? loss : (float) loss, sum);
    }

    /**
     * @param loss infinite where it is beyond f32
     * @param sum of the exponentials of the row
     */
    record Result(double loss, double sum) {}

    /**
     * dLogits = scale·(softmax − q), from the exponentials that {@link #loss} left; NaN where the
     * loss is not finite.
     */
    void gradient(
            Tensor dLogits, Tensor exponentials, int row, int target, Result result, float scale) {
        float factor = Double.isFinite(result.loss()) ? (float) (scale / result.sum()) : Float.NaN;
        float shared = (float) ((double) scale * smoothing / cols);
        float targetExponential = Rows.f32(exponentials, row, target);
        for (int col = 0; col < cols; col += STRETCH) {
            int count = load(exponentials, row, col);
            for (int i = 0; i < count; i += VectorMath.LANES) {
                FloatVector.fromArray(VectorMath.FLOATS, values, i)
                        .mul(factor)
                        .sub(shared)
                        .intoArray(values, i);
            }
            Rows.store(dLogits, row, col, values, 0, count);
        }
        values[0] = (targetExponential * factor - shared) - scale * (1 - smoothing);
        Rows.store(dLogits, row, target, values, 0, 1);
    }

    private int load(Tensor from, int row, int col) {
        int count = Math.min(STRETCH, cols - col);
        Rows.load(values, 0, from, row, col, count);
        return count;
    }

    private float largest(Tensor logits, int row) {
        FloatVector most = FloatVector.broadcast(VectorMath.FLOATS, Float.NEGATIVE_INFINITY);
        for (int col = 0; col < cols; col += STRETCH) {
            int count = load(logits, row, col);
            Arrays.fill(values, count, VectorMath.padded(count), Float.NEGATIVE_INFINITY);
            for (int i = 0; i < count; i += VectorMath.LANES) {
                most = most.max(FloatVector.fromArray(VectorMath.FLOATS, values, i));
            }
        }
        return most.reduceLanes(VectorOperators.MAX);
    }

    private double exponentials(float largest, int count) {
        FloatVector sum = FloatVector.zero(VectorMath.FLOATS);
        for (int i = 0; i < count; i += VectorMath.LANES) {
            FloatVector value = FloatVector.fromArray(VectorMath.FLOATS, values, i);
            FloatVector power = VectorMath.exp(value.sub(largest));
            power.intoArray(values, i);
            sum = sum.add(power);
        }
        return LaneSums.sum(sum);
    }
}
