package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/** {@link AttentionKernel} by definition. */
public final class ReferenceAttention implements AttentionKernel {
    @Override
    public void forward(
            Tensor out, Tensor lse, Tensor qkv, PackedSequences sequences, AttentionShape shape) {
        Tensor cuSeqlens = sequences.cuSeqlens();
        Optional<Tensor> keyMask = sequences.keyMask();
        int size = shape.headDim();
        for (int t = 0; t < qkv.rows(); t++) {
            int start = sequenceStart(cuSeqlens, t);
            for (int h = 0; h < shape.heads(); h++) {
                int value = valueColumn(shape, h);
                double[] scores = scores(qkv, keyMask, shape, start, t, h);
                double largest = Double.NEGATIVE_INFINITY;
                for (double score : scores) {
                    largest = Math.max(largest, score);
                }
                double total = 0;
                double[] sums = new double[size];
                for (int u = start; u >= 0 && u <= t; u++) {
                    if (scores[u - start] == Double.NEGATIVE_INFINITY) {
                        continue;
                    }
                    double weight = Math.exp(scores[u - start] - largest);
                    total += weight;
                    for (int c = 0; c < size; c++) {
                        sums[c] += weight * Elements.get(qkv, u, value + c);
                    }
                }
                Elements.set(
                        lse,
                        t,
                        h,
                        total == 0 ? Double.NEGATIVE_INFINITY : largest + Math.log(total));
                for (int c = 0; c < size; c++) {
                    Elements.set(out, t, h * size + c, total == 0 ? 0 : sums[c] / total);
                }
            }
        }
    }

    @Override
    public void backward(
            Tensor dQkv,
            Tensor dOut,
            Tensor out,
            Tensor lse,
            Tensor qkv,
            PackedSequences sequences,
            AttentionShape shape) {
        Tensor cuSeqlens = sequences.cuSeqlens();
        Optional<Tensor> keyMask = sequences.keyMask();
        int size = shape.headDim();
        double[][] gradient = new double[Math.toIntExact(qkv.rows())][shape.fusedCols()];
        for (int t = 0; t < qkv.rows(); t++) {
            int start = sequenceStart(cuSeqlens, t);
            for (int h = 0; h < shape.heads(); h++) {
                int query = h * size;
                int key = keyColumn(shape, h);
                int value = valueColumn(shape, h);
                double[] scores = scores(qkv, keyMask, shape, start, t, h);
                double mean = 0;
                for (int c = 0; c < size; c++) {
                    mean += Elements.get(dOut, t, query + c) * Elements.get(out, t, query + c);
                }
                for (int u = start; u >= 0 && u <= t; u++) {
                    if (scores[u - start] == Double.NEGATIVE_INFINITY) {
                        continue;
                    }
                    double probability = Math.exp(scores[u - start] - Elements.get(lse, t, h));
                    double dProbability = 0;
                    for (int c = 0; c < size; c++) {
                        double d = Elements.get(dOut, t, query + c);
                        dProbability += d * Elements.get(qkv, u, value + c);
                        gradient[u][value + c] += probability * d;
                    }
                    double dScore = probability * (dProbability - mean) * shape.scale();
                    for (int c = 0; c < size; c++) {
                        gradient[t][query + c] += dScore * Elements.get(qkv, u, key + c);
                        gradient[u][key + c] += dScore * Elements.get(qkv, t, query + c);
                    }
                }
            }
        }
        for (int t = 0; t < qkv.rows(); t++) {
            for (int c = 0; c < shape.fusedCols(); c++) {
                Elements.set(dQkv, t, c, gradient[t][c]);
            }
        }
    }

    /** First row of the sequence that row t belongs to, or −1 for a padding row. */
    static int sequenceStart(Tensor cuSeqlens, int t) {
        int start = -1;
        for (long i = 0; i + 1 < cuSeqlens.cols(); i++) {
            if (Elements.getInt(cuSeqlens, 0, i) <= t && t < Elements.getInt(cuSeqlens, 0, i + 1)) {
                start = Elements.getInt(cuSeqlens, 0, i);
            }
        }
        return start;
    }

    /** Scaled scores of row t against rows start to t; −∞ where it does not look. */
    private static double[] scores(
            Tensor qkv,
            Optional<Tensor> keyMask,
            AttentionShape shape,
            int start,
            int t,
            int head) {
        double[] scores = new double[start < 0 ? 0 : t - start + 1];
        for (int u = start; u >= 0 && u <= t; u++) {
            boolean inWindow = shape.window() == 0 || t - u < shape.window();
            double dot = 0;
            for (int c = 0; c < shape.headDim(); c++) {
                dot +=
                        Elements.get(qkv, t, head * shape.headDim() + c)
                                * Elements.get(qkv, u, keyColumn(shape, head) + c);
            }
            boolean shown = keyMask.isEmpty() || Elements.getInt(keyMask.get(), 0, u) != 0;
            scores[u - start] = inWindow && shown ? shape.scale() * dot : Double.NEGATIVE_INFINITY;
        }
        return scores;
    }

    private static int keyColumn(AttentionShape shape, int head) {
        return shape.queryCols() + head / (shape.heads() / shape.kvHeads()) * shape.headDim();
    }

    private static int valueColumn(AttentionShape shape, int head) {
        return keyColumn(shape, head) + shape.keyCols();
    }
}
