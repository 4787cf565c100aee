package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.PublishKernel.Copy;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Comparator;
import java.util.List;

/**
 * A list of copies as kernels read it: struct Copy of native-kernels' common/copies.cuh. Elements
 * are numbered flat, each copy's from its first number on.
 */
final class CopyTable {
    private static final int ENTRY_BYTES = 64;

    private CopyTable() {}

    /** Numbered one copy after the other, in the order of the list. */
    static byte[] consecutive(List<Copy> copies) {
        ByteBuffer table = allocate(copies);
        long first = 0;
        for (Copy copy : copies) {
            put(table, copy, first);
            first += copy.from().elements();
        }
        return table.array();
    }

    /** Numbered as the elements of a flat tensor that every copy reads a dense part of. */
    static byte[] within(Tensor flat, List<Copy> copies) {
        ByteBuffer table = allocate(copies);
        copies.stream()
                .sorted(Comparator.comparingLong(copy -> copy.from().offset()))
                .forEach(copy -> put(table, copy, firstWithin(flat, copy.from())));
        return table.array();
    }

    private static long firstWithin(Tensor flat, Tensor part) {
        long first = part.offset() - flat.offset();
        boolean inside =
                part.storage() == flat.storage()
                        && part.isDense()
                        && first >= 0
                        && first + part.elements() <= flat.cols();
        if (!inside) {
            throw new IllegalArgumentException(
                    part.describe() + " is no dense part of " + flat.describe());
        }
        return first;
    }

    private static ByteBuffer allocate(List<Copy> copies) {
        return ByteBuffer.allocate(copies.size() * ENTRY_BYTES).order(ByteOrder.nativeOrder());
    }

    private static void put(ByteBuffer table, Copy copy, long first) {
        Tensor from = copy.from();
        Tensor to = copy.to();
        if (from.dtype() != DType.F32
                || !to.dtype().isFloat()
                || from.rows() != to.rows()
                || from.cols() != to.cols()) {
            throw new IllegalArgumentException(
                    "copy of " + from.describe() + " to " + to.describe());
        }
        table.putLong(first)
                .putLong(from.elements())
                .putLong(from.cols())
                .putLong(from.address())
                .putLong(from.stride())
                .putLong(to.address())
                .putLong(to.stride())
                .putFloat(copy.scale())
                .putInt(to.dtype() == DType.BF16 ? 1 : 0);
    }
}
