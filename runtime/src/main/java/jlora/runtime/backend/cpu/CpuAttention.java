package jlora.runtime.backend.cpu;

import jlora.runtime.backend.cpu.AttentionScratch.Slot;
import jlora.runtime.backend.cpu.Products.Operand;
import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.tensor.DType;
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
                    long valueCol = keyCol + shape.keyCols();
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
                            narrow
                                    ? AttentionScratch.inPlace(qkv, firstKey, valueCol)
                                    : scratch.read(
                                            Slot.VALUES,
                                            qkv,
                                            firstKey,
                                            block.keys(),
                                            valueCol,
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
        boolean wide = anyWide(task.sequence, qkv.dtype(), shape.window());
        Operand keys = wide ? scratch.read(Slot.KEYS, qkv, first, length, keyCol, size) : null;
        Operand values =
                wide ? scratch.read(Slot.VALUES, qkv, first, length, valueCol, size) : null;
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
                boolean narrow = block.narrow(products, qkv.dtype());
                Operand d = scratch.read(Slot.OUT_GRADIENTS, dOut, row, rows, col, size);
                Operand o = scratch.read(Slot.OUT, out, row, rows, col, size);
                Operand p = scratch.matrix(Slot.SCORES, AttentionBlock.ROWS, block.leading());
                Operand ds =
                        scratch.matrix(Slot.SCORE_GRADIENTS, AttentionBlock.ROWS, block.leading());
                Operand dQueries = scratch.matrix(Slot.QUERY_GRADIENTS, rows, size);
                // What is multiplied: as it lies in memory, p and ds rounded; or all of it f32.
                Operand q, k, v, dFactor, pFactor, dsFactor;
                if (narrow) {
                    q = AttentionScratch.inPlace(qkv, row, col);
                    k = AttentionScratch.inPlace(qkv, first + low, keyCol);
                    v = AttentionScratch.inPlace(qkv, first + low, valueCol);
                    dFactor = AttentionScratch.inPlace(dOut, row, col);
                    pFactor =
                            scratch.narrow(
                                    Slot.NARROW_SCORES, AttentionBlock.ROWS, block.leading());
                    dsFactor =
                            scratch.narrow(
                                    Slot.NARROW_SCORE_GRADIENTS,
                                    AttentionBlock.ROWS,
                                    block.leading());
                } else {
                    q = scratch.read(Slot.QUERIES, qkv, row, rows, col, size);
                    k = keyRows(keys, low);
                    v = keyRows(values, low);
                    dFactor = d;
                    pFactor = p;
                    dsFactor = ds;
                }
                Operand kT = AttentionBlock.transposed(k);
                Operand vT = AttentionBlock.transposed(v);
                float scale = shape.scale();
                AttentionBlock.multiply(
                        products, narrow, rows, count, size, scale, q, kT, false, p);
                AttentionBlock.multiply(
                        products, narrow, rows, count, size, 1f, dFactor, vT, false, ds);
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
                    if (narrow) {
                        block.round(pFactor, p, r);
                        block.round(dsFactor, ds, r);
                    }
                }
                Operand pT = AttentionBlock.transposed(pFactor);
                Operand dsT = AttentionBlock.transposed(dsFactor);
                Operand dv = keyRows(dValues, low);
                Operand dk = keyRows(dKeys, low);
                AttentionBlock.multiply(
                        products, narrow, count, size, rows, 1f, pT, dFactor, true, dv);
                AttentionBlock.multiply(
                        products, narrow, count, size, rows, scale, dsT, q, true, dk);
                AttentionBlock.multiply(
                        products, narrow, rows, size, count, scale, dsFactor, k, false, dQueries);
                scratch.write(dQkv, row, rows, col, size, dQueries);
            }
        }
        scratch.write(dQkv, first, length, keyCol, size, dKeys);
        scratch.write(dQkv, first, length, valueCol, size, dValues);
    }

    /** Whether any block of a sequence multiplies f32, and so needs all keys and values as such. */
    private boolean anyWide(Sequence sequence, DType dtype, int window) {
        for (int index = 0; index < AttentionBlock.count(sequence.length()); index++) {
            var block = AttentionBlock.of(sequence.first, sequence.length(), 0, index, window);
            if (!block.narrow(products, dtype)) {
                return true;
            }
        }
        return false;
    }

    /** The rows of a sequence's f32 matrix from a position on. */
    private static Operand keyRows(Operand matrix, int position) {
        long offset = matrix.byteOffset() + 4 * matrix.leading() * position;
        return new Operand(matrix.segment(), offset, matrix.leading(), false);
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
