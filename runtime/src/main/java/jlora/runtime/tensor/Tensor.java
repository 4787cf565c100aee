package jlora.runtime.tensor;

import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * A matrix view of a {@link Storage}: {@code rows} rows of {@code cols} adjacent elements,
 * consecutive rows {@code stride} elements apart. Tokens are rows. Vectors and scalars are matrices
 * of one row. Everything that jlora computes has this form, heads and borders being column ranges;
 * identity, not shape, tells tensors apart.
 */
public final class Tensor {
    private final String name;
    private final Storage storage;
    private final DType dtype;
    private final long rows;
    private final long cols;
    private final long offset;
    private final long stride;

    /** A view that starts {@code offset} elements into the storage. */
    public Tensor(
            String name,
            Storage storage,
            DType dtype,
            long rows,
            long cols,
            long offset,
            long stride) {
        this.name = Objects.requireNonNull(name);
        this.storage = Objects.requireNonNull(storage);
        this.dtype = Objects.requireNonNull(dtype);
        this.rows = rows;
        this.cols = cols;
        this.offset = offset;
        this.stride = stride;
        if (rows < 0 || cols < 0 || offset < 0 || (rows > 1 && stride < cols)) {
            throw new IllegalArgumentException("bad view " + describe());
        }
        if (rows > 0
                && cols > 0
                && (offset + (rows - 1) * stride + cols) * dtype.bytes() > storage.bytes()) {
            throw new IllegalArgumentException("view " + describe() + " leaves " + storage);
        }
    }

    /** A tensor that fills a storage of its own, with {@code pad} more columns behind each row. */
    public static Tensor padded(
            String name, Storage.Role role, DType dtype, long rows, long cols, long pad) {
        long stride = Math.addExact(cols, pad);
        long bytes = Math.multiplyExact(Math.multiplyExact(rows, stride), (long) dtype.bytes());
        return new Tensor(name, new Storage(name, role, bytes), dtype, rows, cols, 0, stride);
    }

    /** A dense tensor that fills a storage of its own. */
    public static Tensor dense(String name, Storage.Role role, DType dtype, long rows, long cols) {
        return padded(name, role, dtype, rows, cols, 0);
    }

    public String name() {
        return name;
    }

    public Storage storage() {
        return storage;
    }

    public DType dtype() {
        return dtype;
    }

    public long rows() {
        return rows;
    }

    public long cols() {
        return cols;
    }

    /** Elements from the start of the storage to the first element. */
    public long offset() {
        return offset;
    }

    /** Elements from one row to the next. */
    public long stride() {
        return stride;
    }

    public long elements() {
        return rows * cols;
    }

    /** True when the rows follow each other without a gap. */
    public boolean isDense() {
        return stride == cols || rows <= 1;
    }

    /**
     * Columns {@code from .. from + count}, which may reach into the pad columns behind this view.
     */
    public Tensor columns(long from, long count) {
        if (from < 0 || from + count > stride) {
            throw new IllegalArgumentException(
                    "columns " + from + "+" + count + " of " + describe());
        }
        return new Tensor(name, storage, dtype, rows, count, offset + from, stride);
    }

    /** Rows {@code from .. from + count} of this view. */
    public Tensor rows(long from, long count) {
        if (from < 0 || from + count > rows) {
            throw new IllegalArgumentException("rows " + from + "+" + count + " of " + describe());
        }
        return new Tensor(name, storage, dtype, count, cols, offset + from * stride, stride);
    }

    /** The storage's host memory; {@link #byteOffset} finds the rows in it. */
    public MemorySegment segment() {
        return storage.segment();
    }

    /** Bytes from the start of the storage to the first element of a row. */
    public long byteOffset(long row) {
        return (offset + row * stride) * dtype.bytes();
    }

    /** The device address of the first element. */
    public long address() {
        return storage.address() + offset * dtype.bytes();
    }

    /** Name, shape and type for messages, such as {@code qkv [512, 3072] bfloat16}. */
    public String describe() {
        return name
                + " ["
                + rows
                + ", "
                + cols
                + (stride == cols ? "" : " of " + stride)
                + "] "
                + dtype.torchName();
    }

    @Override
    public String toString() {
        return describe();
    }
}
