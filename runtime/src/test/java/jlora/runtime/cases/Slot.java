package jlora.runtime.cases;

import jlora.runtime.tensor.DType;

import java.util.Optional;

/**
 * A tensor of a {@link Problem}, before it has memory.
 *
 * @param buffer number of the storage that it is a view of
 * @param fill what it holds at first; without one it is poisoned
 * @param tolerance of what a kernel writes into it
 */
public record Slot(
        String name,
        int buffer,
        DType dtype,
        long rows,
        long cols,
        long offset,
        long stride,
        Optional<Fill> fill,
        Optional<Tolerance> tolerance) {
    /** Bytes of the elements themselves. */
    public long bytes() {
        return rows * cols * dtype.bytes();
    }
}
