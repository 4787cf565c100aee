package jlora.runtime.weight;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.HostBackend;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * How far a matrix moves when it is stored in fewer bits.
 *
 * @param weight sum of the squares of its elements
 * @param difference sum of the squares of what was lost
 */
public record QuantizationError(double weight, double difference) {
    /** Rows at a time. */
    private static final long PIECE = 1 << 22;

    /** Nothing, to add to. */
    public static final QuantizationError NONE = new QuantizationError(0, 0);

    public QuantizationError plus(QuantizationError other) {
        return new QuantizationError(weight + other.weight, difference + other.difference);
    }

    /** Root of the mean square of what was lost, by that of the elements. */
    public double relative() {
        return weight == 0 ? 0 : Math.sqrt(difference / weight);
    }

    /**
     * Quantises a matrix as a model that is loaded would, and compares. Takes 9 bytes an element.
     *
     * @param backend over memory of the host
     * @param name of the matrix
     * @param dtype in which the rows hold their values as they are
     * @param source of the rows; asked twice for each
     */
    public static QuantizationError of(
            HostBackend backend,
            FrozenStorage.Form form,
            String name,
            long rows,
            long cols,
            DType dtype,
            WeightFill.Rows source) {
        Tensor whole = Tensor.dense(name, Storage.Role.WEIGHT, DType.F32, rows, cols);
        List<Storage> storages = new ArrayList<>(List.of(whole.storage()));
        Held held =
                switch (form) {
                    case FrozenStorage.Form.Plain plain ->
                            throw new IllegalArgumentException("plain weights lose nothing");
                    case FrozenStorage.Form.FourBit fourBit -> {
                        FourBitLayout layout = new FourBitLayout(List.of(rows), cols, fourBit);
                        Storage codes =
                                new Storage(name + ".codes", Storage.Role.WEIGHT, layout.bytes());
                        storages.add(codes);
                        yield new HeldCodes(layout.in(codes, 0).getFirst(), false);
                    }
                    case FrozenStorage.Form.Fp8 fp8 ->
                            new HeldFp8(
                                    Fp8Matrix.allocate(
                                            rows,
                                            cols,
                                            fp8.scaling(),
                                            (what, type, r, c) -> {
                                                Tensor t =
                                                        Tensor.dense(
                                                                what,
                                                                Storage.Role.WEIGHT,
                                                                type,
                                                                r,
                                                                c);
                                                storages.add(t.storage());
                                                return t;
                                            }));
                };
        try (MemoryArena _ = Placement.allocate(backend, name, storages)) {
            WeightFill.fill(
                    backend,
                    new CheckpointTensor(name, held, false, CheckpointTensor.Init.NORMAL),
                    dtype,
                    source);
            switch (held) {
                case HeldCodes codes ->
                        backend.kernels().fourBit().dequantize(whole, List.of(codes.matrix()));
                case HeldFp8 codes -> backend.kernels().fp8().dequantize(whole, codes.matrix());
                case HeldRows plain -> throw new AssertionError(plain);
            }
            return compare(backend, whole, source);
        }
    }

    private static QuantizationError compare(
            Backend backend, Tensor stored, WeightFill.Rows source) {
        long most = Math.max(1, Math.min(stored.rows(), PIECE / Math.max(1, stored.cols())));
        Tensor piece = Tensor.dense("rows", Storage.Role.WORKSPACE, DType.F32, most, stored.cols());
        double weight = 0;
        double difference = 0;
        try (MemoryArena _ = Placement.allocate(backend, "rows", List.of(piece.storage()))) {
            for (long row = 0; row < stored.rows(); row += most) {
                long count = Math.min(most, stored.rows() - row);
                source.write(piece.rows(0, count), row);
                for (long i = 0; i < count * stored.cols(); i++) {
                    double exact = piece.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
                    double kept =
                            stored.segment()
                                    .getAtIndex(ValueLayout.JAVA_FLOAT, row * stored.cols() + i);
                    weight += exact * exact;
                    difference += (exact - kept) * (exact - kept);
                }
            }
        }
        return new QuantizationError(weight, difference);
    }
}
