package jlora.trainer.job;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.adapter.lora.LoraSpec;
import jlora.runtime.io.PeftFolder;
import jlora.runtime.io.SafetensorsEntry;
import jlora.runtime.io.SafetensorsWriter;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.stream.IntStream;

/**
 * One weight of a checkpoint with an adapter's update: W + s·B·A, formed in f64 a few rows at a
 * time and rounded once to the checkpoint's own type. Where the checkpoint stores [in,out], the
 * update is transposed.
 */
final class MergedWeight {
    /** Bytes of rows that are held at a time. */
    private static final long CHUNK = 4L << 20;

    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfDouble DOUBLE =
            ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final SafetensorsEntry weight;
    private final PeftFolder.Stored adapter;
    private final LoraSpec spec;
    private final boolean transposed;

    /** Factors of the update in the checkpoint's orientation: [rows,r], scaled, and [r,cols]. */
    private record Factors(double[] left, double[] right) {}

    MergedWeight(
            SafetensorsEntry weight, PeftFolder.Stored adapter, LoraSpec spec, boolean transposed) {
        this.weight = weight;
        this.adapter = adapter;
        this.spec = spec;
        this.transposed = transposed;
        requireFloat(weight);
        requireFloat(adapter.a());
        requireFloat(adapter.b());
    }

    private static void requireFloat(SafetensorsEntry entry) {
        switch (entry.type()) {
            case F32, F16, BF16, F64 -> {}
            default ->
                    throw JloraException.corrupt(
                            entry.file()
                                    + ": tensor "
                                    + entry.describe()
                                    + " has a type that nothing can be merged into or from; convert"
                                    + " it to F32, F16 or BF16");
        }
    }

    /** Fails when A or B holds NaN or infinity. */
    void requireFinite() {
        factors();
    }

    private Factors factors() {
        double[] a = values(adapter.a());
        double[] b = values(adapter.b());
        for (int i = 0; i < b.length; i++) {
            b[i] *= spec.scale();
        }
        int rank = spec.rank();
        if (!transposed) {
            return new Factors(b, a);
        }
        return new Factors(transpose(a, rank), transpose(b, b.length / rank));
    }

    /**
     * Sum of the squares of s·B·A, which is never formed: the trace of (BᵀB)·(A·Aᵀ), two r by r
     * matrices.
     */
    double updateSquares() {
        double[] a = values(adapter.a());
        double[] b = values(adapter.b());
        int rank = spec.rank();
        int in = a.length / rank;
        double sum = 0;
        for (int i = 0; i < rank; i++) {
            for (int j = 0; j < rank; j++) {
                double left = 0;
                for (int row = 0; row < b.length / rank; row++) {
                    left += b[row * rank + i] * b[row * rank + j];
                }
                double right = 0;
                for (int k = 0; k < in; k++) {
                    right += a[i * in + k] * a[j * in + k];
                }
                sum += left * right;
            }
        }
        return (double) spec.scale() * spec.scale() * sum;
    }

    private static double[] values(SafetensorsEntry entry) {
        double[] values = new double[Math.toIntExact(entry.rows() * entry.cols())];
        read(entry, 0, values);
        for (double value : values) {
            if (!Double.isFinite(value)) {
                throw notFinite(entry, "the adapter's tensor " + entry.describe());
            }
        }
        return values;
    }

    private static JloraException notFinite(SafetensorsEntry entry, String what) {
        return new JloraException(
                ExitCode.NUMERICS,
                entry.file()
                        + ": "
                        + what
                        + " holds NaN or infinity, so nothing was merged; use finite weights.");
    }

    private static double[] transpose(double[] matrix, int rows) {
        int cols = matrix.length / rows;
        double[] result = new double[matrix.length];
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < cols; c++) {
                result[c * rows + r] = matrix[r * cols + c];
            }
        }
        return result;
    }

    /** The merged rows, in order. */
    void writeTo(SafetensorsWriter.Sink sink) throws IOException {
        Factors factors = factors();
        int cols = Math.toIntExact(weight.cols());
        long rowBytes = (long) cols * weight.type().bits() / 8;
        int chunk = (int) Math.clamp(CHUNK / Math.max(1, rowBytes), 1, weight.rows());
        try (Arena arena = Arena.ofShared()) {
            MemorySegment buffer = arena.allocate(chunk * rowBytes, 8);
            for (long first = 0; first < weight.rows(); first += chunk) {
                long from = first;
                int rows = (int) Math.min(chunk, weight.rows() - first);
                // Rows are independent, and each is one thread's.
                boolean finite =
                        IntStream.range(0, rows)
                                .parallel()
                                .allMatch(
                                        row ->
                                                merge(
                                                        factors,
                                                        from + row,
                                                        cols,
                                                        buffer,
                                                        row * rowBytes));
                if (!finite) {
                    throw notFinite(
                            weight,
                            "the tensor " + weight.describe() + " with the adapter merged into it");
                }
                sink.write(buffer.asSlice(0, rows * rowBytes));
            }
        }
    }

    private boolean merge(Factors factors, long row, int cols, MemorySegment to, long at) {
        double[] delta = new double[cols];
        for (int k = 0; k < spec.rank(); k++) {
            double left = factors.left[Math.toIntExact(row * spec.rank() + k)];
            int from = k * cols;
            for (int j = 0; j < cols; j++) {
                delta[j] += left * factors.right[from + j];
            }
        }
        double[] values = new double[cols];
        read(weight, row * cols, values);
        for (int j = 0; j < cols; j++) {
            values[j] += delta[j];
        }
        return store(values, to, at);
    }

    /** Reads as many elements as the array holds. */
    private static void read(SafetensorsEntry from, long element, double[] to) {
        MemorySegment data = from.data();
        for (int i = 0; i < to.length; i++) {
            long index = element + i;
            to[i] =
                    switch (from.type()) {
                        case F32 -> data.get(FLOAT, 4 * index);
                        case BF16 -> Float.intBitsToFloat(data.get(SHORT, 2 * index) << 16);
                        case F16 -> Float.float16ToFloat(data.get(SHORT, 2 * index));
                        case F64 -> data.get(DOUBLE, 8 * index);
                        default -> throw new AssertionError(from.type());
                    };
        }
    }

    /** Rounds to the checkpoint's type; false for NaN and infinity. */
    private boolean store(double[] values, MemorySegment to, long at) {
        boolean finite = true;
        for (int i = 0; i < values.length; i++) {
            double value = values[i];
            switch (weight.type()) {
                case F32 -> {
                    to.set(FLOAT, at + 4L * i, (float) value);
                    finite &= Float.isFinite((float) value);
                }
                case BF16 -> {
                    short bits = RoundOnce.bfloat16(value);
                    to.set(SHORT, at + 2L * i, bits);
                    finite &= Float.isFinite(Float.intBitsToFloat(bits << 16));
                }
                case F16 -> {
                    short bits = RoundOnce.float16(value);
                    to.set(SHORT, at + 2L * i, bits);
                    finite &= Float.isFinite(Float.float16ToFloat(bits));
                }
                case F64 -> {
                    to.set(DOUBLE, at + 8L * i, value);
                    finite &= Double.isFinite(value);
                }
                default -> throw new AssertionError(weight.type());
            }
        }
        return finite;
    }
}
