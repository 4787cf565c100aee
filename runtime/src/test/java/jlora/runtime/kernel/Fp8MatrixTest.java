package jlora.runtime.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.Optional;

class Fp8MatrixTest {
    private static Tensor dense(String what, DType dtype, long rows, long cols) {
        return Tensor.dense(what, Storage.Role.WEIGHT, dtype, rows, cols);
    }

    private static Fp8Matrix matrix(long rows, long cols, Scaling scaling) {
        return Fp8Matrix.allocate(rows, cols, scaling, Fp8MatrixTest::dense);
    }

    /** Steps that cuBLASLt asks for: 16 bytes of codes, 4 scales of blocks, pieces without gaps. */
    @ParameterizedTest
    @CsvSource({"ROW, 1, 300, 300", "PIECE, 2, 300, 300", "BLOCK, 3, 2, 4"})
    void scalesLieAsTheLibraryReadsThem(Scaling scaling, int rows, int cols, int stride) {
        Fp8Matrix matrix = matrix(300, 172, scaling);
        assertEquals(172, matrix.cols());
        assertEquals(176, matrix.codes().stride());
        Tensor scales = matrix.scales().orElseThrow();
        assertEquals(rows, scales.rows());
        assertEquals(cols, scales.cols());
        assertEquals(stride, scales.stride());
    }

    @Test
    void rowsBringTheirScales() {
        Fp8Matrix blocks = matrix(300, 172, Scaling.BLOCK);
        Tensor last = blocks.rows(256, 44).scales().orElseThrow();
        assertEquals(1, last.rows());
        assertEquals(2 * 4, last.offset());
        assertThrows(IllegalArgumentException.class, () -> blocks.rows(64, 128));
        assertThrows(IllegalArgumentException.class, () -> blocks.rows(0, 100));
        Tensor rows = matrix(300, 172, Scaling.ROW).rows(64, 100).scales().orElseThrow();
        assertEquals(64, rows.offset());
        assertEquals(100, rows.cols());
        assertEquals(Optional.empty(), matrix(300, 172, Scaling.NONE).rows(1, 2).scales());
    }

    @Test
    void whatDoesNotGoTogetherIsRefused() {
        Tensor codes = dense("codes", DType.F8_E4M3, 300, 172);
        Tensor scales = dense("scales", DType.F32, 1, 172);
        assertThrows(
                IllegalArgumentException.class,
                () -> new Fp8Matrix(codes, Scaling.ROW, Optional.of(scales)));
        assertThrows(
                IllegalArgumentException.class,
                () -> new Fp8Matrix(codes, Scaling.ROW, Optional.empty()));
        assertThrows(
                IllegalArgumentException.class,
                () -> new Fp8Matrix(codes, Scaling.NONE, Optional.of(scales)));
        Tensor out = dense("out", DType.BF16, 5, 300);
        Fp8Matrix weight = matrix(300, 172, Scaling.BLOCK);
        Fp8Matrix.checkProduct(out, matrix(5, 172, Scaling.PIECE), weight);
        String sentence =
                assertThrows(
                                IllegalArgumentException.class,
                                () ->
                                        Fp8Matrix.checkProduct(
                                                out, matrix(5, 172, Scaling.ROW), weight))
                        .getMessage();
        assertTrue(sentence.contains("scaled by ROW and codes [300, 172 of 176]"), sentence);
    }
}
