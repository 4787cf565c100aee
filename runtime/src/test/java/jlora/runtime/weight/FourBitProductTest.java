package jlora.runtime.weight;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.List;
import java.util.Optional;
import java.util.Random;

/** Products with weights of four bits, against f64 with the weights that they stand for. */
class FourBitProductTest {
    private static final int TOKENS = 7;

    /** Half of the largest gap between two codes, in shares of a block's largest magnitude. */
    private static double worst(FourBitMatrix.Type type) {
        return switch (type) {
            case NF4 -> (1 - 0.6961928009986877) / 2;
            case FP4 -> (12.0 - 8) / 12 / 2;
        };
    }

    @ParameterizedTest
    @CsvSource({
        "NF4, false, 64, 128",
        "NF4, true, 96, 192",
        "NF4, true, 33, 172",
        "FP4, false, 64, 128",
        "FP4, true, 33, 172",
    })
    void errorIsTheFormats(FourBitMatrix.Type type, boolean nested, int rows, int cols) {
        Random random = new Random(type.hashCode() + rows);
        float[] w = values(random, rows * cols, 0.02);
        float[] x = values(random, TOKENS * cols, 1);
        FrozenStorage.Form.FourBit form = new FrozenStorage.Form.FourBit(type, nested);
        FourBitLayout layout = new FourBitLayout(List.of((long) rows), cols, form);
        Storage codes = new Storage("codes", Storage.Role.WEIGHT, layout.bytes());
        Tensor whole = dense("w", rows, cols);
        Tensor input = dense("x", TOKENS, cols);
        Tensor output = dense("y", TOKENS, rows);
        List<Storage> all = List.of(codes, whole.storage(), input.storage(), output.storage());
        try (Backend backend = new CpuBackend(new CpuOptions(2, ProductLibrary.VECTOR));
                MemoryArena _ = Placement.allocate(backend, "test", all)) {
            HeldCodes held = new HeldCodes(layout.in(codes, 0).getFirst(), false);
            CheckpointTensor tensor =
                    new CheckpointTensor("w", held, false, CheckpointTensor.Init.NORMAL);
            WeightFill.fill(
                    backend,
                    tensor,
                    DType.F32,
                    (to, first) -> {
                        float[] piece = new float[(int) to.elements()];
                        System.arraycopy(w, (int) (first * cols), piece, 0, piece.length);
                        HostValues.write(backend, to, piece, 1);
                    });
            backend.kernels().fourBit().dequantize(whole, List.of(held.matrix()));
            HostValues.write(backend, input, x, 1);
            backend.kernels().linear().forward(output, input, whole, Optional.empty());
            float[] y = HostValues.read(backend, output);
            double lost = 0;
            double exactSquares = 0;
            for (int t = 0; t < TOKENS; t++) {
                for (int n = 0; n < rows; n++) {
                    double exact = 0;
                    double bound = 0;
                    for (int k = 0; k < cols; k++) {
                        exact += (double) x[t * cols + k] * w[n * cols + k];
                        double scale = absmax(w, (n * cols + k) / 64 * 64);
                        // Scales of eight bits are off by up to a few percent of themselves.
                        double share = worst(type) + (nested ? 0.05 : 0);
                        bound += Math.abs(x[t * cols + k]) * share * scale;
                    }
                    double error = Math.abs(y[t * rows + n] - exact);
                    assertTrue(error <= bound, error + " of at most " + bound);
                    lost += error * error;
                    exactSquares += exact * exact;
                }
            }
            // On normal weights NF4 loses about 9%, FP4 about 12% of a product's magnitude.
            double relative = Math.sqrt(lost / exactSquares);
            assertEquals(type == FourBitMatrix.Type.NF4 ? 0.09 : 0.125, relative, 0.04);
        }
    }

    private static double absmax(float[] values, int from) {
        double most = 0;
        for (int i = from; i < Math.min(values.length, from + 64); i++) {
            most = Math.max(most, Math.abs(values[i]));
        }
        return most;
    }

    private static Tensor dense(String name, int rows, int cols) {
        return Tensor.dense(name, Storage.Role.ACTIVATION, DType.F32, rows, cols);
    }

    private static float[] values(Random random, int count, double sigma) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) (sigma * random.nextGaussian());
        }
        return values;
    }
}
