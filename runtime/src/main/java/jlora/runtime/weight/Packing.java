package jlora.runtime.weight;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.function.Consumer;

/**
 * Hands out tensors of one storage, one behind the other, each at a multiple of {@link
 * MemoryArena#ALIGNMENT}.
 */
final class Packing {
    private final Storage storage;
    private long at;

    /**
     * @param from the byte at which they begin
     */
    Packing(Storage storage, long from) {
        this.storage = storage;
        this.at = from;
    }

    /** The bytes that a layout takes: it is tried on a storage that nothing is placed in. */
    static long bytes(Consumer<Packing> layout) {
        Packing trial =
                new Packing(new Storage("trial", Storage.Role.WORKSPACE, Long.MAX_VALUE), 0);
        layout.accept(trial);
        return trial.at;
    }

    Tensor dense(String name, DType dtype, long rows, long cols) {
        Tensor view = new Tensor(name, storage, dtype, rows, cols, at / dtype.bytes(), cols);
        at += MemoryArena.align(rows * cols * dtype.bytes());
        return view;
    }
}
