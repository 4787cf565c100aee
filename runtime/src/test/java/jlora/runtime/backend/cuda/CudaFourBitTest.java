package jlora.runtime.backend.cuda;

import static jlora.runtime.tensor.DType.F32;
import static jlora.runtime.tensor.DType.U8;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.runtime.backend.Routine;
import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.FourBitMatrix.Type;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Making a weight of several matrices whole is one launch, also inside of a captured step. */
final class CudaFourBitTest {
    private static final int COLS = 128;

    private final List<MemoryArena> arenas = new ArrayList<>();
    private CudaBackend backend;
    private Emulator emulator;

    @BeforeEach
    void open() {
        emulator = Emulator.open();
        backend = emulator.backend();
    }

    @AfterEach
    void close() {
        arenas.forEach(MemoryArena::close);
        backend.close();
    }

    private Tensor place(DType dtype, long rows, long cols) {
        Tensor tensor = Tensor.dense("four bit", Storage.Role.WEIGHT, dtype, rows, cols);
        MemoryArena arena = backend.allocate("four bit", tensor.storage().bytes());
        arenas.add(arena);
        arena.place(tensor.storage(), 0);
        return tensor;
    }

    private FourBitMatrix matrix(Type type, long rows, boolean nested) {
        long blocks = FourBitMatrix.blocks(rows * COLS);
        FourBitMatrix matrix =
                new FourBitMatrix(
                        rows,
                        COLS,
                        type,
                        place(U8, 1, rows * COLS / 2),
                        place(nested ? U8 : F32, 1, blocks),
                        nested
                                ? Optional.of(
                                        new FourBitMatrix.Nested(
                                                place(F32, 1, Math.ceilDiv(blocks, 256L)),
                                                place(F32, 1, 1)))
                                : Optional.empty());
        quantize(matrix, 1);
        return matrix;
    }

    private void quantize(FourBitMatrix matrix, long seed) {
        Tensor w = place(F32, matrix.rows(), COLS);
        backend.kernels().randomFill().normal(w, 0, seed, 0, 0.02);
        boolean nested = matrix.nested().isPresent();
        Tensor absmax = nested ? place(F32, 1, matrix.blocks()) : matrix.scales();
        backend.kernels().fourBit().quantize(matrix, absmax, 0, w);
        if (nested) {
            backend.kernels().fourBit().quantizeScales(matrix, absmax);
        }
    }

    private float[] download(Tensor tensor) {
        float[] values = new float[(int) tensor.elements()];
        backend.download(MemorySegment.ofArray(values), tensor);
        return values;
    }

    @Test
    void aCapturedLaunchReadsTheCodesOfItsTime() {
        List<FourBitMatrix> parts =
                List.of(
                        matrix(Type.NF4, 9, true),
                        matrix(Type.NF4, 4, false),
                        matrix(Type.FP4, 5, true));
        Tensor to = place(F32, 18, COLS);
        try (Routine routine =
                backend.routine("step", () -> backend.kernels().fourBit().dequantize(to, parts))) {
            routine.run();
            float[] eager = download(to);
            routine.run();
            assertEquals(1, routine.nodes());
            assertArrayEquals(eager, download(to));

            parts.forEach(part -> quantize(part, 2));
            backend.synchronize();
            emulator.resetCalls();
            routine.run();
            assertEquals(1, emulator.calls("cuGraphLaunch"));
            assertEquals(0, emulator.calls("cuStreamSynchronize"));
            float[] replayed = download(to);
            backend.kernels().fourBit().dequantize(to, parts);
            assertArrayEquals(download(to), replayed);
        }
    }
}
