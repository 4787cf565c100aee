package jlora.runtime.io;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Objects;

/**
 * One tensor of a safetensors file: its bytes are a read-only view of the mapped file,
 * little-endian, dense, row-major and without any alignment, and are valid until the file is
 * closed.
 */
public record SafetensorsEntry(
        Path file, String name, SafetensorsType type, long[] shape, MemorySegment data) {
    public SafetensorsEntry {
        Objects.requireNonNull(file);
        Objects.requireNonNull(name);
        shape = shape.clone();
        long bytes =
                type.bytesOf(shape)
                        .orElseThrow(() -> new IllegalArgumentException(name + ": bad shape"));
        if (data.byteSize() != bytes) {
            throw new IllegalArgumentException(name + ": " + data.byteSize() + " bytes");
        }
    }

    @Override
    public long[] shape() {
        return shape.clone();
    }

    public int rank() {
        return shape.length;
    }

    /** Rows of this tensor as a matrix: the first dimension of two, else 1. */
    public long rows() {
        return shape.length < 2 ? 1 : shape[0];
    }

    /** Columns of this tensor as a matrix: everything but the rows. */
    public long cols() {
        long cols = 1;
        for (int i = shape.length < 2 ? 0 : 1; i < shape.length; i++) {
            cols *= shape[i];
        }
        return cols;
    }

    /** Name, type and shape for messages, such as {@code 'lm_head.weight' BF16 [512, 64]}. */
    public String describe() {
        return Json.quote(name) + " " + type + " " + Arrays.toString(shape);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof SafetensorsEntry that
                && file.equals(that.file)
                && name.equals(that.name);
    }

    @Override
    public int hashCode() {
        return Objects.hash(file, name);
    }

    @Override
    public String toString() {
        return describe() + " of " + file;
    }
}
