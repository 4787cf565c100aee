package jlora.runtime.weight;

import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.FourBitMatrix.Nested;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Where codes and scales of the parts of a weight lie behind each other in a run of bytes, each at
 * a multiple of {@link MemoryArena#ALIGNMENT}. Parts are the tensors of a checkpoint: each has
 * blocks, and a mean of scales, of its own, so that its codes do not depend on what it is fused
 * with.
 *
 * @param rows of each part
 * @param cols of all parts
 */
record FourBitLayout(List<Long> rows, long cols, FrozenStorage.Form.FourBit form) {
    /** Hands out views from a position on. */
    private static final class Cursor {
        private final Storage storage;
        private long at;

        Cursor(Storage storage, long at) {
            this.storage = storage;
            this.at = at;
        }

        Tensor next(String name, DType dtype, long count) {
            Tensor view = new Tensor(name, storage, dtype, 1, count, at / dtype.bytes(), count);
            at += MemoryArena.align(count * dtype.bytes());
            return view;
        }
    }

    FourBitLayout {
        rows = List.copyOf(rows);
    }

    /** Bytes of all parts. */
    long bytes() {
        return rows.stream().mapToLong(this::bytes).sum();
    }

    private long bytes(long partRows) {
        long elements = partRows * cols;
        long blocks = FourBitMatrix.blocks(elements);
        long codes = MemoryArena.align(Math.ceilDiv(elements, 2L));
        if (!form.doubleQuant()) {
            return codes + MemoryArena.align(blocks * DType.F32.bytes());
        }
        long outer = Math.ceilDiv(blocks, (long) FourBitMatrix.SCALE_BLOCK);
        return codes
                + MemoryArena.align(blocks)
                + MemoryArena.align(outer * DType.F32.bytes())
                + MemoryArena.align(DType.F32.bytes());
    }

    /**
     * The parts in a storage.
     *
     * @param from the byte at which they begin
     */
    List<FourBitMatrix> in(Storage storage, long from) {
        Cursor cursor = new Cursor(storage, from);
        List<FourBitMatrix> parts = new ArrayList<>();
        for (long partRows : rows) {
            parts.add(part(cursor, partRows));
        }
        return parts;
    }

    private FourBitMatrix part(Cursor cursor, long partRows) {
        long elements = partRows * cols;
        long blocks = FourBitMatrix.blocks(elements);
        Tensor codes = cursor.next("codes", DType.U8, Math.ceilDiv(elements, 2L));
        Tensor scales = cursor.next("scales", form.doubleQuant() ? DType.U8 : DType.F32, blocks);
        Optional<Nested> nested =
                form.doubleQuant()
                        ? Optional.of(
                                new Nested(
                                        cursor.next(
                                                "scales of scales",
                                                DType.F32,
                                                Math.ceilDiv(
                                                        blocks, (long) FourBitMatrix.SCALE_BLOCK)),
                                        cursor.next("offset", DType.F32, 1)))
                        : Optional.empty();
        return new FourBitMatrix(partRows, cols, form.type(), codes, scales, nested);
    }
}
