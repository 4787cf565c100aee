package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.util.List;

/**
 * Launches cover all columns and rows, within the limits of a grid, for the sizes of real models.
 */
final class LaunchPlansTest {
    private static final long[] ROWS = {1, 3, 4096, 131_072, 1L << 33};

    @ParameterizedTest
    @ValueSource(
            longs = {1, 2, 7, 31, 32, 33, 112, 255, 256, 257, 384, 4096, 14_336, 53_248, 1 << 24})
    void packsOfARowAllHaveAThread(long cols) {
        for (long rows : ROWS) {
            for (int pack : new int[] {1, 8}) {
                LaunchShape shape = new PackedRows(rows, cols, DType.BF16, pack).shape(132);
                assertTrue((long) shape.gridX() * shape.blockX() * pack >= cols, shape::toString);
                assertTrue(shape.blockX() * shape.blockY() <= 256, shape::toString);
                // No block without a pack.
                assertTrue((shape.gridX() - 1L) * shape.blockX() * pack < cols, shape::toString);
                assertTrue((shape.gridY() - 1L) * shape.blockY() < rows, shape::toString);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 8, 512, 520, 768, 1024, 1032, 1536, 4096, 8192, 8200, 12_288, 16_384})
    void rowsOfANormAreHeldWhole(long cols) {
        for (DType dtype : List.of(DType.F32, DType.BF16)) {
            for (long pad : new long[] {0, 3}) {
                Tensor row = placed(dtype, 2, cols, pad);
                for (boolean summed : new boolean[] {false, true}) {
                    NormRows rows = NormRows.of("norm", summed, row, List.of());
                    int held = rows.suffix().endsWith("_16") ? 16 : 32;
                    assertTrue((long) rows.team() * held >= cols, rows::toString);
                    assertTrue(rows.threads() <= 512 && rows.team() % 32 == 0, rows::toString);
                    assertTrue(rows.team() == 32 || rows.team() == rows.threads(), rows::toString);
                }
            }
        }
    }

    @Test
    void longerRowsOfANormAreRefused() {
        Tensor row = placed(DType.BF16, 1, NormRows.MOST_COLS + 8, 0);
        var refusal =
                assertThrows(
                        IllegalArgumentException.class,
                        () -> NormRows.of("rms_norm", false, row, List.of()));
        assertEquals(
                "rms_norm of x [1, 16392] bfloat16: rows have at most 16384 columns",
                refusal.getMessage());
    }

    @Test
    void flatBuffersAreCutAtMultiplesOf16Bytes() {
        Tensor whole = placed(DType.F32, 1, 103, 0);
        Tensor odd = whole.columns(3, 100);
        assertEquals(new FlatSpan(0, 25, 103), FlatSpan.of(whole));
        assertEquals(new FlatSpan(1, 24, 100), FlatSpan.of(odd));
        assertEquals(new FlatSpan(1, 24, 100), FlatSpan.of(odd, odd));
        assertEquals(new FlatSpan(0, 0, 100), FlatSpan.of(odd, whole.columns(0, 100)));
        assertEquals(new FlatSpan(1, 0, 1), FlatSpan.of(whole.columns(3, 1)));
    }

    /** Device memory that nothing reads. */
    private static Tensor placed(DType dtype, long rows, long cols, long pad) {
        Tensor tensor = Tensor.padded("x", Storage.Role.ACTIVATION, dtype, rows, cols, pad);
        MemoryArena.device("test", tensor.storage().bytes(), 1 << 20, () -> {})
                .place(tensor.storage(), 0);
        return tensor;
    }
}
