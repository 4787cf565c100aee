package jlora.runtime.weight;

import jlora.runtime.Resources;
import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.FourBitKernel;
import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Fills tensors of a checkpoint a few million elements at a time, in whatever form they stay: what
 * produces the values sees plain rows in memory of the device. So a matrix that stays in four bits
 * is never whole in another form, and one that stays in host memory passes through the device.
 */
public final class WeightFill {
    /** Produces rows of a tensor. */
    @FunctionalInterface
    public interface Rows {
        /**
         * @param to memory of the device for some adjacent rows, all of which are to be written
         * @param firstRow the number of the first of them among those that are kept here
         */
        void write(Tensor to, long firstRow);
    }

    /** Elements at a time: half a second of random numbers on one slow core. */
    private static final long PIECE = 1 << 24;

    private WeightFill() {}

    /**
     * Fills one tensor.
     *
     * @param dtype of the rows where they are not what stays: values are quantised from it
     */
    public static void fill(Backend backend, CheckpointTensor tensor, DType dtype, Rows rows) {
        switch (tensor.held()) {
            case HeldRows held -> fill(backend, held.here(), rows);
            case HeldCodes held -> quantise(backend, held, dtype, rows);
            case HeldFp8 held -> quantise(backend, held.matrix(), dtype, rows);
        }
    }

    private static void fill(Backend backend, Tensor target, Rows rows) {
        if (!target.storage().inHostMemory() || !backend.asynchronous()) {
            pieces(target.rows(), target.cols(), 1)
                    .forEach(p -> rows.write(target.rows(p.first, p.count), p.first));
            return;
        }
        // With the target's pads, which are zeros in both: a piece is one run of bytes.
        long pad = target.stride() - target.cols();
        try (Staging staging =
                new Staging(backend, target.rows(), target.cols(), pad, 1, target.dtype())) {
            for (Piece p : staging.pieces) {
                Tensor here = staging.rows.rows(0, p.count);
                rows.write(here, p.first);
                Tensor run = here.columns(0, here.stride());
                download(backend, target.storage(), target.byteOffset(p.first), run);
            }
        }
    }

    /** Dense elements of the device into host memory, from a byte of it on. */
    private static void download(Backend backend, Storage to, long at, Tensor from) {
        long bytes = from.elements() * from.dtype().bytes();
        backend.download(to.segment().asSlice(at, bytes), from);
    }

    private static void quantise(Backend backend, HeldCodes held, DType dtype, Rows rows) {
        FourBitMatrix kept = held.matrix();
        long step = FourBitMatrix.BLOCK / gcd(FourBitMatrix.BLOCK, kept.cols());
        boolean nested = kept.nested().isPresent();
        boolean through = held.inHostMemory() && backend.asynchronous();
        Tensor absmax = workspace("absmax", DType.F32, nested ? kept.blocks() : 0);
        Tensor codes = workspace("codes", DType.U8, through ? kept.bytes() : 0);
        try (Resources memory = new Resources();
                Staging staging = new Staging(backend, kept.rows(), kept.cols(), 0, step, dtype)) {
            memory.own(
                    Placement.allocate(
                            backend, "quantisation", List.of(absmax.storage(), codes.storage())));
            FourBitMatrix matrix = through ? kept.in(codes.storage()) : kept;
            Tensor scales = nested ? absmax : matrix.scales();
            FourBitKernel kernel = backend.kernels().fourBit();
            for (Piece p : staging.pieces) {
                Tensor here = staging.rows.rows(0, p.count);
                rows.write(here, p.first);
                kernel.quantize(matrix, scales, p.first * kept.cols() / FourBitMatrix.BLOCK, here);
            }
            if (nested) {
                kernel.quantizeScales(matrix, absmax);
            }
            if (through) {
                Tensor target = kept.codes();
                download(backend, target.storage(), target.byteOffset(0), codes);
            }
            backend.synchronize();
        }
    }

    private static void quantise(Backend backend, Fp8Matrix kept, DType dtype, Rows rows) {
        try (Staging staging =
                new Staging(backend, kept.rows(), kept.cols(), 0, Fp8Matrix.BLOCK, dtype)) {
            for (Piece p : staging.pieces) {
                Tensor here = staging.rows.rows(0, p.count);
                rows.write(here, p.first);
                backend.kernels()
                        .fp8()
                        .quantize(kept.rows(p.first, p.count), here, Optional.empty());
            }
            backend.synchronize();
        }
    }

    private static Tensor workspace(String name, DType dtype, long count) {
        return Tensor.dense(name, Storage.Role.WORKSPACE, dtype, 1, count);
    }

    private static long gcd(long a, long b) {
        return b == 0 ? a : gcd(b, a % b);
    }

    /** Some adjacent rows. */
    private record Piece(long first, long count) {}

    /**
     * @param step all but the last have a multiple of so many rows
     */
    private static List<Piece> pieces(long rows, long cols, long step) {
        long most = Math.max(step, PIECE / Math.max(1, cols) / step * step);
        List<Piece> pieces = new ArrayList<>();
        for (long row = 0; row < rows; row += most) {
            pieces.add(new Piece(row, Math.min(most, rows - row)));
        }
        return pieces;
    }

    /** Memory of the device for the rows of one piece. */
    private static final class Staging implements AutoCloseable {
        final List<Piece> pieces;
        final Tensor rows;
        private final MemoryArena memory;

        /**
         * @param pad columns behind each row
         * @param step all but the last piece have a multiple of so many rows
         */
        Staging(Backend backend, long rows, long cols, long pad, long step, DType dtype) {
            pieces = WeightFill.pieces(rows, cols, step);
            long most = pieces.stream().mapToLong(Piece::count).max().orElse(0);
            this.rows = Tensor.padded("rows", Storage.Role.WORKSPACE, dtype, most, cols, pad);
            memory = Placement.allocate(backend, "staging", List.of(this.rows.storage()));
        }

        @Override
        public void close() {
            memory.close();
        }
    }
}
