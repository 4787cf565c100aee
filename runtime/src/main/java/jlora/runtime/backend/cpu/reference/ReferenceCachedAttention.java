package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.CachedAttentionKernel;
import jlora.runtime.tensor.Tensor;

/**
 * {@link CachedAttentionKernel} by definition; new tokens see keys and values as the cache stores
 * them.
 */
public final class ReferenceCachedAttention implements CachedAttentionKernel {
    @Override
    public void forward(
            Tensor out,
            Tensor cache,
            Tensor qkv,
            Tensor cuSeqlens,
            Tensor cached,
            AttentionShape shape,
            int capacity) {
        int sequences = Math.toIntExact(cuSeqlens.cols()) - 1;
        for (int i = 0; i < sequences; i++) {
            int start = Elements.getInt(cuSeqlens, 0, i);
            int end = Elements.getInt(cuSeqlens, 0, i + 1);
            int before = Elements.getInt(cached, 0, i);
            if (before < 0 || before + end - start > capacity) {
                throw new IllegalArgumentException(
                        "sequence "
                                + i
                                + ": "
                                + before
                                + " cached and "
                                + (end - start)
                                + " new positions in a cache of "
                                + capacity);
            }
            for (int t = start; t < end; t++) {
                int row = i * capacity + before + t - start;
                for (int c = 0; c < 2 * shape.keyCols(); c++) {
                    Elements.set(cache, row, c, Elements.get(qkv, t, shape.queryCols() + c));
                }
            }
            for (int t = start; t < end; t++) {
                attend(out, cache, qkv, shape, t, i * capacity, before + t - start);
            }
        }
        for (int t = Elements.getInt(cuSeqlens, 0, sequences); t < out.rows(); t++) {
            for (int c = 0; c < shape.queryCols(); c++) {
                Elements.set(out, t, c, 0);
            }
        }
    }

    /** Row t, at this position of its sequence, whose cache starts at row {@code first}. */
    private static void attend(
            Tensor out,
            Tensor cache,
            Tensor qkv,
            AttentionShape shape,
            int t,
            int first,
            int position) {
        int size = shape.headDim();
        int oldest = shape.window() == 0 ? 0 : Math.max(0, position - shape.window() + 1);
        for (int h = 0; h < shape.heads(); h++) {
            int key = h / (shape.heads() / shape.kvHeads()) * size;
            int value = shape.keyCols() + key;
            double[] scores = new double[position + 1];
            double largest = Double.NEGATIVE_INFINITY;
            for (int u = oldest; u <= position; u++) {
                double dot = 0;
                for (int c = 0; c < size; c++) {
                    dot +=
                            Elements.get(qkv, t, h * size + c)
                                    * Elements.get(cache, first + u, key + c);
                }
                scores[u] = shape.scale() * dot;
                largest = Math.max(largest, scores[u]);
            }
            double total = 0;
            double[] sums = new double[size];
            for (int u = oldest; u <= position; u++) {
                double weight = Math.exp(scores[u] - largest);
                total += weight;
                for (int c = 0; c < size; c++) {
                    sums[c] += weight * Elements.get(cache, first + u, value + c);
                }
            }
            for (int c = 0; c < size; c++) {
                Elements.set(out, t, h * size + c, sums[c] / total);
            }
        }
    }
}
