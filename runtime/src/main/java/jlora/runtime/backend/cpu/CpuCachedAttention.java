package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

import jlora.runtime.backend.cpu.AttentionScratch.Slot;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.CachedAttentionKernel;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;

/**
 * {@link CachedAttentionKernel}: prompts run by blocks as in training; a few new tokens read the
 * cache once per key head, row by row, which is as fast as memory.
 */
final class CpuCachedAttention implements CachedAttentionKernel {
    private static final int LANES = VectorMath.LANES;

    /** From so many new tokens of a sequence on, matrix products are worth their start. */
    private static final int BLOCK_FROM = 8;

    /**
     * New rows {@code first} to {@code end} after {@code past} cached positions; cache rows start
     * at cacheRow.
     */
    private record Sequence(int first, int end, int past, long cacheRow) {
        int length() {
            return end - first;
        }
    }

    /** One block of one query head, or (block −1) all new tokens of one key head. */
    private record Task(Sequence sequence, int head, int block) {}

    private final CpuPool pool;
    private final Products products;
    private final AttentionScratch[] scratches;

    CpuCachedAttention(CpuPool pool, Products products) {
        this.pool = pool;
        this.products = products;
        this.scratches = AttentionScratch.of(pool);
    }

    @Override
    public void forward(
            Tensor out,
            Tensor cache,
            Tensor qkv,
            Tensor cuSeqlens,
            Tensor cached,
            AttentionShape shape,
            int capacity) {
        List<Task> tasks = new ArrayList<>();
        for (int i = 0; i + 1 < cuSeqlens.cols(); i++) {
            Sequence sequence =
                    new Sequence(
                            Rows.i32(cuSeqlens, i),
                            Rows.i32(cuSeqlens, i + 1),
                            Rows.i32(cached, i),
                            (long) i * capacity);
            if (sequence.past + sequence.length() > capacity) {
                throw new IllegalArgumentException(
                        "sequence "
                                + i
                                + ": "
                                + sequence.past
                                + " cached and "
                                + sequence.length()
                                + " new tokens exceed the cache's capacity of "
                                + capacity);
            }
            append(cache, qkv, sequence, shape);
            if (sequence.length() >= BLOCK_FROM) {
                for (int head = 0; head < shape.heads(); head++) {
                    for (int block = AttentionBlock.count(sequence.length()) - 1;
                            block >= 0;
                            block--) {
                        tasks.add(new Task(sequence, head, block));
                    }
                }
            } else if (sequence.length() > 0) {
                for (int keyHead = 0; keyHead < shape.kvHeads(); keyHead++) {
                    tasks.add(new Task(sequence, keyHead, -1));
                }
            }
        }
        pool.tasks(
                tasks.size(),
                (part, index) -> {
                    Task task = tasks.get(index);
                    if (task.block >= 0) {
                        block(scratches[part], task, out, cache, qkv, shape);
                    } else {
                        for (int token = 0; token < task.sequence.length(); token++) {
                            token(task.sequence, task.head, token, out, cache, qkv, shape);
                        }
                    }
                });
        for (long row = Rows.i32(cuSeqlens, cuSeqlens.cols() - 1); row < out.rows(); row++) {
            Rows.clear(out, row);
        }
    }

    private static void append(Tensor cache, Tensor qkv, Sequence sequence, AttentionShape shape) {
        int cols = 2 * shape.keyCols();
        float[] row = new float[VectorMath.padded(cols)];
        for (int token = 0; token < sequence.length(); token++) {
            Rows.load(row, 0, qkv, sequence.first + token, shape.queryCols(), cols);
            Rows.store(cache, sequence.cacheRow + sequence.past + token, row, 0);
        }
    }

    private void block(
            AttentionScratch scratch,
            Task task,
            Tensor out,
            Tensor cache,
            Tensor qkv,
            AttentionShape shape) {
        Sequence sequence = task.sequence;
        int size = shape.headDim();
        AttentionBlock block =
                AttentionBlock.of(
                        sequence.first,
                        sequence.length(),
                        sequence.past,
                        task.block,
                        shape.window());
        long keyCol = (long) (task.head / (shape.heads() / shape.kvHeads())) * size;
        long firstKey = sequence.cacheRow + block.lowKey();
        block.forward(
                products,
                scratch,
                shape,
                task.head,
                out,
                null,
                qkv,
                scratch.read(Slot.KEYS, cache, firstKey, block.keys(), keyCol, size),
                false,
                scratch.read(
                        Slot.VALUES, cache, firstKey, block.keys(), keyCol + shape.keyCols(), size),
                null);
    }

    /** One new token's query heads that share a key head. */
    private static void token(
            Sequence sequence,
            int keyHead,
            int token,
            Tensor out,
            Tensor cache,
            Tensor qkv,
            AttentionShape shape) {
        int size = shape.headDim();
        int padded = VectorMath.padded(size);
        int group = shape.heads() / shape.kvHeads();
        int position = sequence.past + token;
        int low = shape.window() == 0 ? 0 : Math.max(0, position - shape.window() + 1);
        int count = position + 1 - low;
        long keyCol = (long) keyHead * size;
        float[][] queries = new float[group][padded];
        float[][] scores = new float[group][VectorMath.padded(count)];
        float[][] sums = new float[group][padded];
        float[] row = new float[padded];
        for (int g = 0; g < group; g++) {
            Rows.load(
                    queries[g],
                    0,
                    qkv,
                    sequence.first + token,
                    (long) (keyHead * group + g) * size,
                    size);
        }
        for (int u = 0; u < count; u++) {
            Rows.load(row, 0, cache, sequence.cacheRow + low + u, keyCol, size);
            for (int g = 0; g < group; g++) {
                scores[g][u] = shape.scale() * Sums.dot(queries[g], row, padded);
            }
        }
        for (float[] values : scores) {
            softmax(values, count);
        }
        for (int u = 0; u < count; u++) {
            Rows.load(row, 0, cache, sequence.cacheRow + low + u, shape.keyCols() + keyCol, size);
            for (int g = 0; g < group; g++) {
                addScaled(sums[g], row, scores[g][u], padded);
            }
        }
        for (int g = 0; g < group; g++) {
            long col = (long) (keyHead * group + g) * size;
            Rows.store(out, sequence.first + token, col, sums[g], 0, size);
        }
    }

    private static void softmax(float[] s, int count) {
        for (int i = count; i < s.length; i++) {
            s[i] = Float.NEGATIVE_INFINITY;
        }
        FloatVector max = FloatVector.broadcast(VectorMath.FLOATS, Float.NEGATIVE_INFINITY);
        for (int i = 0; i < s.length; i += LANES) {
            max = max.max(FloatVector.fromArray(VectorMath.FLOATS, s, i));
        }
        float highest = max.reduceLanes(VectorOperators.MAX);
        FloatVector sum = FloatVector.zero(VectorMath.FLOATS);
        for (int i = 0; i < s.length; i += LANES) {
            FloatVector p =
                    VectorMath.exp(FloatVector.fromArray(VectorMath.FLOATS, s, i).sub(highest));
            p.intoArray(s, i);
            sum = sum.add(p);
        }
        float inverse = 1f / LaneSums.sum(sum);
        for (int i = 0; i < s.length; i += LANES) {
            FloatVector.fromArray(VectorMath.FLOATS, s, i).mul(inverse).intoArray(s, i);
        }
    }

    private static void addScaled(float[] sums, float[] row, float factor, int padded) {
        for (int i = 0; i < padded; i += LANES) {
            FloatVector.fromArray(VectorMath.FLOATS, row, i)
                    .mul(factor)
                    .add(FloatVector.fromArray(VectorMath.FLOATS, sums, i))
                    .intoArray(sums, i);
        }
    }
}
