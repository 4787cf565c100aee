package jlora.runtime.backend;

import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/** A tensor's rows as host threads produce them: in any order, several threads at a time. */
public record HostRows(Tensor to, Writer writer) {
    /** Produces rows. */
    @FunctionalInterface
    public interface Writer {
        /**
         * @param rows host memory for some adjacent rows of the tensor, of the tensor's type; the
         *     stride may be another
         * @param firstRow the first one's number in the tensor
         */
        void write(Tensor rows, long firstRow);
    }

    /** Some adjacent rows; {@code to} is where they go. */
    public record Piece(Tensor to, long firstRow, Writer writer) {
        /** Writes them to host memory. */
        public void write(Tensor rows) {
            writer.write(rows, firstRow);
        }
    }

    public HostRows {
        Objects.requireNonNull(to);
        Objects.requireNonNull(writer);
    }

    /** Cut into pieces of at most so many bytes, and of at least one row. */
    public List<Piece> pieces(long bytes) {
        long rowBytes = Math.max(1, to.cols() * to.dtype().bytes());
        long most = Math.max(1, bytes / rowBytes);
        List<Piece> pieces = new ArrayList<>();
        for (long row = 0; row < to.rows(); row += most) {
            long rows = Math.min(most, to.rows() - row);
            pieces.add(new Piece(to.rows(row, rows), row, writer));
        }
        return pieces;
    }
}
