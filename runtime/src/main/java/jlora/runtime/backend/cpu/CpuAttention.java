package jlora.runtime.backend.cpu;

import jlora.runtime.backend.cpu.AttentionScratch.Slot;
import jlora.runtime.backend.cpu.Products.Operand;
import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * {@link AttentionKernel} by blocks of queries whose work is matrix products. Forward, a task is
 * one block of one head; backward, one key head of one sequence, so that every sum over queries has
 * one owner and one order.
 */
final class CpuAttention implements AttentionKernel {
    /** Rows {@code first} to {@code end} of a batch. */
    private record Sequence(int first, int end) {
        int length() {
            return end - first;
        }
    }

    private record ForwardTask(Sequence sequence, int head, int block) {}

    private record BackwardTask(Sequence sequence, int keyHead) {}

    private final CpuPool pool;
    private final Products products;
    private final AttentionScratch[] scratches;

    CpuAttention(CpuPool pool, Products products) {
        this.pool = pool;
        this.products = products;
        this.scratches = AttentionScratch.of(pool);
    }

    @Override
    public void forward(
            Tensor out, Tensor lse, Tensor qkv, PackedSequences sequences, AttentionShape shape) {
        Tensor cuSeqlens = sequences.cuSeqlens();
        Optional<Tensor> keyMask = sequences.keyMask();
        int size = shape.headDim();
        List<ForwardTask> tasks = new ArrayList<>();
        for (Sequence sequence : sequences(cuSeqlens)) {
            for (int head = 0; head < shape.heads(); head++) {
                // Later blocks see more keys: longest work first keeps the threads busy to the end.
                for (int block = AttentionBlock.count(sequence.length()) - 1; block >= 0; block--) {
                    tasks.add(new ForwardTask(sequence, head, block));
                }
            }
        }
        pool.tasks(
                tasks.size(),
                (part, index) -> {
                    ForwardTask task = tasks.get(index);
                    Sequence sequence = task.sequence;
                    AttentionScratch scratch = scratches[part];
                    AttentionBlock block =
                            AttentionBlock.of(
                                    sequence.first,
                                    sequence.length(),
                                    0,
                                    task.block,
                                    shape.window());
                    int keyHead = task.head / (shape.heads() / shape.kvHeads());
                    long keyCol = shape.queryCols() + (long) keyHead * size;
                    int firstKey = sequence.first + block.lowKey();
                    boolean narrow = block.narrow(products, qkv.dtype());
                    block.forward(
                            products,
                            scratch,
                            shape,
                            task.head,
                            out,
                            lse,
                            qkv,
                            narrow
                                    ? AttentionScratch.inPlace(qkv, firstKey, keyCol)
                                    : scratch.read(
                                            Slot.KEYS, qkv, firstKey, block.keys(), keyCol, size),
                            narrow,
                            scratch.read(
                                    Slot.VALUES,
                                    qkv,
                                    firstKey,
                                    block.keys(),
                                    keyCol + shape.keyCols(),
                                    size),
                            mask(scratch, keyMask, firstKey, block.keys()));
                });
        for (long row = end(cuSeqlens); row < out.rows(); row++) {
            Rows.clear(out, row);
            for (int head = 0; head < shape.heads(); head++) {
                Rows.setF32(lse, row, head, Float.NEGATIVE_INFINITY);
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
        List<BackwardTask> tasks = new ArrayList<>();
        for (Sequence sequence : sequences(cuSeqlens)) {
            for (int keyHead = 0; keyHead < shape.kvHeads(); keyHead++) {
                tasks.add(new BackwardTask(sequence, keyHead));
            }
        }
        tasks.sort((a, b) -> Integer.compare(b.sequence.length(), a.sequence.length()));
        pool.tasks(
                tasks.size(),
                (part, index) ->
                        backward(
                                scratches[part],
                                tasks.get(index),
                                dQkv,
                                dOut,
                                out,
                                lse,
                                qkv,
                                sequences.keyMask(),
                                shape));
        for (long row = end(cuSeqlens); row < dQkv.rows(); row++) {
            Rows.clear(dQkv, row);
        }
    }

    /*
     * With P = softmax(S), S = scale·QKᵀ and O = PV: dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P∘(dP − δ) with δ = Σ dO∘O per row (which
     * is Σ P∘dP), dQ = scale·dS·K, dK = scale·dSᵀ·Q.
     */
    private void backward(
            AttentionScratch scratch,
            BackwardTask task,
            Tensor dQkv,
            Tensor dOut,
            Tensor out,
            Tensor lse,
            Tensor qkv,
            Optional<Tensor> keyMask,
            AttentionShape shape) {
        int size = shape.headDim();
        int group = shape.heads() / shape.kvHeads();
        int first = task.sequence.first;
        int length = task.sequence.length();
        long keyCol = shape.queryCols() + (long) task.keyHead * size;
        long valueCol = keyCol + shape.keyCols();
        Operand keys = scratch.read(Slot.KEYS, qkv, first, length, keyCol, size);
        Operand values = scratch.read(Slot.VALUES, qkv, first, length, valueCol, size);
        Operand dKeys = scratch.zeros(Slot.KEY_GRADIENTS, length, size);
        Operand dValues = scratch.zeros(Slot.VALUE_GRADIENTS, length, size);
        for (int head = task.keyHead * group; head < (task.keyHead + 1) * group; head++) {
            long col = (long) head * size;
            for (int index = 0; index < AttentionBlock.count(length); index++) {
                AttentionBlock block = AttentionBlock.of(first, length, 0, index, shape.window());
                int rows = block.rows();
                int count = block.keys();
                long row = block.queryRow();
                int low = block.lowKey();
                Operand queries = scratch.read(Slot.QUERIES, qkv, row, rows, col, size);
                Operand d = scratch.read(Slot.OUT_GRADIENTS, dOut, row, rows, col, size);
                Operand o = scratch.read(Slot.OUT, out, row, rows, col, size);
                Operand p = scratch.matrix(Slot.SCORES, AttentionBlock.ROWS, block.leading());
                Operand ds =
                        scratch.matrix(Slot.SCORE_GRADIENTS, AttentionBlock.ROWS, block.leading());
                if (block.narrow(products, qkv.dtype())) {
                    block.multiplyNarrow(
                            products,
                            size,
                            shape.scale(),
                            AttentionScratch.inPlace(qkv, row, col),
                            AttentionScratch.inPlace(qkv, first + low, keyCol),
                            p);
                    block.multiplyNarrow(
                            products,
                            size,
                            1f,
                            AttentionScratch.inPlace(dOut, row, col),
                            AttentionScratch.inPlace(qkv, first + low, valueCol),
                            ds);
                } else {
                    Operand keysT = keyRows(keys, low, true);
                    Operand valuesT = keyRows(values, low, true);
                    products.f32(rows, count, size, shape.scale(), queries, keysT, 0f, p);
                    products.f32(rows, count, size, 1f, d, valuesT, 0f, ds);
                }
                MemorySegment mask = mask(scratch, keyMask, first + low, count);
                for (int r = 0; r < rows; r++) {
                    AttentionScores.gradient(
                            p.segment(),
                            ds.segment(),
                            4L * r * block.leading(),
                            block.start(r, shape.window()),
                            block.end(r),
                            count,
                            mask,
                            Rows.f32(lse, row + r, head),
                            AttentionScores.dot(d, o, r, size));
                }
                Operand dQueries = scratch.matrix(Slot.QUERY_GRADIENTS, rows, size);
                products.f32(
                        count,
                        size,
                        rows,
                        1f,
                        AttentionBlock.transposed(p),
                        d,
                        1f,
                        keyRows(dValues, low, false));
                products.f32(
                        count,
                        size,
                        rows,
                        shape.scale(),
                        AttentionBlock.transposed(ds),
                        queries,
                        1f,
                        keyRows(dKeys, low, false));
                products.f32(
                        rows,
                        size,
                        count,
                        shape.scale(),
                        ds,
                        keyRows(keys, low, false),
                        0f,
                        dQueries);
                scratch.write(dQkv, row, rows, col, size, dQueries);
            }
        }
        scratch.write(dQkv, first, length, keyCol, size, dKeys);
        scratch.write(dQkv, first, length, valueCol, size, dValues);
    }

    /** The rows of a sequence's matrix from a position on. */
    private static Operand keyRows(Operand matrix, int position, boolean transposed) {
        long offset = matrix.byteOffset() + 4 * matrix.leading() * position;
        return new Operand(matrix.segment(), offset, matrix.leading(), transposed);
    }

    /** 0 for keys that may be seen and −∞ for the others; null when all may be. */
    private static MemorySegment mask(
            AttentionScratch scratch, Optional<Tensor> keyMask, int first, int count) {
        if (keyMask.isEmpty()) {
            return null;
        }
        int key = 0;
        while (key < count && Rows.i32(keyMask.get(), first + key) != 0) {
            key++;
        }
        if (key == count) {
            return null;
        }
        int padded = VectorMath.padded(count);
        MemorySegment mask = scratch.floats(Slot.MASK, padded);
        for (int i = 0; i < padded; i++) {
            boolean seen = i >= count || Rows.i32(keyMask.get(), first + i) != 0;
            mask.setAtIndex(ValueLayout.JAVA_FLOAT, i, seen ? 0f : Float.NEGATIVE_INFINITY);
        }
        return mask;
    }

    private static List<Sequence> sequences(Tensor cuSeqlens) {
        List<Sequence> sequences = new ArrayList<>();
        for (int i = 1; i < cuSeqlens.cols(); i++) {
            Sequence sequence = new Sequence(Rows.i32(cuSeqlens, i - 1), Rows.i32(cuSeqlens, i));
            if (sequence.length() > 0) {
                sequences.add(sequence);
            }
        }
        return sequences;
    }

    private static int end(Tensor cuSeqlens) {
        return Rows.i32(cuSeqlens, cuSeqlens.cols() - 1);
    }
}
