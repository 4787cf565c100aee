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
    FourBitLayout {
        rows = List.copyOf(rows);
    }

    /** Bytes of all parts. */
    long bytes() {
        return Packing.bytes(this::parts);
    }

    /**
     * The parts in a storage.
     *
     * @param from the byte at which they begin
     */
    List<FourBitMatrix> in(Storage storage, long from) {
        return parts(new Packing(storage, from));
    }

    private List<FourBitMatrix> parts(Packing packing) {
        List<FourBitMatrix> parts = new ArrayList<>();
        for (long partRows : rows) {
            parts.add(part(packing, partRows));
        }
        return parts;
    }

    private FourBitMatrix part(Packing packing, long partRows) {
        long elements = partRows * cols;
        long blocks = FourBitMatrix.blocks(elements);
        Tensor codes = packing.dense("codes", DType.U8, 1, Math.ceilDiv(elements, 2L));
        Tensor scales =
                packing.dense("scales", form.doubleQuant() ? DType.U8 : DType.F32, 1, blocks);
        Optional<Nested> nested =
                form.doubleQuant()
                        ? Optional.of(
                                new Nested(
                                        packing.dense(
                                                "scales of scales",
                                                DType.F32,
                                                1,
                                                Math.ceilDiv(
                                                        blocks, (long) FourBitMatrix.SCALE_BLOCK)),
                                        packing.dense("offset", DType.F32, 1, 1)))
                        : Optional.empty();
        return new FourBitMatrix(partRows, cols, form.type(), codes, scales, nested);
    }
}
