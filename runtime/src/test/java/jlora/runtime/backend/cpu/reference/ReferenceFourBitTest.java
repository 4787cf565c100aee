package jlora.runtime.backend.cpu.reference;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;
import static jlora.runtime.tensor.DType.U8;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.io.SafetensorsEntry;
import jlora.runtime.io.SafetensorsFile;
import jlora.runtime.kernel.FourBitKernel;
import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.FourBitMatrix.Type;
import jlora.runtime.kernel.FourBitTables;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.MemorySegment;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.SplittableRandom;

/**
 * The definition of four-bit matrices against bitsandbytes itself (fixtures/make_four_bit.py), and
 * against what rounding to sixteen values may cost.
 */
final class ReferenceFourBitTest {
    private static final int BLOCK = FourBitMatrix.BLOCK;

    private final FourBitKernel kernel = new ReferenceFourBit();
    private final Literals memory = new Literals();
    private SafetensorsFile file;

    @BeforeEach
    void open() throws URISyntaxException {
        var resource = getClass().getResource("/four_bit/bitsandbytes.safetensors");
        file = SafetensorsFile.open(Path.of(resource.toURI()));
    }

    @AfterEach
    void close() {
        file.close();
        memory.close();
    }

    /** A tensor of the file; as one row where it is none of the matrices. */
    private Tensor stored(String name) {
        SafetensorsEntry entry = file.entry(name);
        DType dtype =
                switch (entry.type()) {
                    case F32 -> F32;
                    case BF16 -> BF16;
                    case U8 -> U8;
                    default -> throw new AssertionError(entry.describe());
                };
        boolean matrix = dtype != U8 && entry.rows() > 1;
        long rows = matrix ? entry.rows() : 1;
        long elements = entry.data().byteSize() / dtype.bytes();
        Tensor tensor = memory.zeros(dtype, rows, elements / rows);
        MemorySegment.copy(entry.data(), 0, tensor.segment(), 0, entry.data().byteSize());
        return tensor;
    }

    private FourBitMatrix empty(Type type, long rows, long cols, boolean nested) {
        long blocks = FourBitMatrix.blocks(rows * cols);
        return new FourBitMatrix(
                rows,
                cols,
                type,
                memory.zeros(U8, 1, Math.ceilDiv(rows * cols, 2L)),
                memory.zeros(nested ? U8 : F32, 1, blocks),
                nested
                        ? Optional.of(
                                new FourBitMatrix.Nested(
                                        memory.zeros(F32, 1, Math.ceilDiv(blocks, 256L)),
                                        memory.zeros(F32, 1, 1)))
                        : Optional.empty());
    }

    private static void assertSame(Tensor expected, Tensor actual) {
        assertEquals(expected.elements(), actual.elements());
        for (long r = 0; r < expected.rows(); r++) {
            for (long c = 0; c < expected.cols(); c++) {
                // Zeros of either sign are equal.
                if (Elements.get(expected, r, c) != Elements.get(actual, r, c)) {
                    assertEquals(
                            Elements.get(expected, r, c),
                            Elements.get(actual, r, c),
                            "[" + r + "," + c + "]");
                }
            }
        }
    }

    @Test
    void codesMeanWhatTheyMeanInBitsandbytes() {
        for (Type type : Type.values()) {
            assertValues(type.name().toLowerCase(Locale.ROOT), FourBitTables.values(type));
        }
        assertValues("scales", FourBitTables.scaleValues());
    }

    private void assertValues(String name, float[] values) {
        double[] wide = new double[values.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values[i];
        }
        assertSame(stored(name + ".map"), memory.floats(1, wide));
    }

    @ParameterizedTest
    @CsvSource({"odd, NF4", "odd, FP4", "rows, NF4", "rows, FP4", "bf16, NF4", "bf16, FP4"})
    void quantizesAsBitsandbytesDoes(String name, Type type) {
        Tensor w = stored(name);
        String prefix = name + "." + type.name().toLowerCase(Locale.ROOT);
        FourBitMatrix matrix = empty(type, w.rows(), w.cols(), true);
        Tensor absmax = memory.zeros(F32, 1, matrix.blocks());
        kernel.quantize(matrix, absmax, 0, w);
        assertSame(stored(prefix + ".absmax"), absmax);
        Tensor codes = stored(prefix + ".codes");
        int between = 0;
        for (int i = 0; i < w.elements(); i++) {
            if (type == Type.FP4 && betweenTheirThresholds(w, absmax, i)) {
                between++;
            } else {
                assertEquals(code(type, codes, i), code(type, matrix.codes(), i), "element " + i);
            }
        }
        assertTrue(between <= w.elements() / 1000, between + " elements");

        kernel.quantizeScales(matrix, absmax);
        FourBitMatrix.Nested nested = matrix.nested().orElseThrow();
        float offset = (float) Elements.get(stored(prefix + ".nested.offset"), 0, 0);
        // The mean there is of an f32 sum.
        float ulp = Math.ulp(offset);
        assertEquals(offset, Elements.get(nested.offset(), 0, 0), ulp);
        assertSame(stored(prefix + ".nested.codes"), matrix.scales());
        Tensor scales = stored(prefix + ".nested.absmax");
        for (int i = 0; i < scales.cols(); i++) {
            assertEquals(Elements.get(scales, 0, i), Elements.get(nested.scales(), 0, i), ulp);
        }
    }

    /**
     * Thresholds of FP4 have six to eight digits in the CUDA kernels, whose codes count, and are
     * middles of neighbours in Python. Ratios of bf16 numbers do fall between the two.
     */
    private static boolean betweenTheirThresholds(Tensor w, Tensor absmax, int element) {
        float scale = (float) Elements.get(absmax, 0, element / BLOCK);
        float x = (float) Elements.get(w, element / w.cols(), element % w.cols());
        float magnitude = Math.abs(x * FourBitTables.inverse(scale));
        for (float threshold : FourBitTables.thresholds(Type.FP4)) {
            if (Math.abs(magnitude - threshold) < 5e-7) {
                return true;
            }
        }
        return false;
    }

    /** The code of an element; one for both zeros of FP4. */
    private static int code(Type type, Tensor codes, int element) {
        int pair = Elements.getInt(codes, 0, element / 2);
        int code = element % 2 == 0 ? pair >> 4 : pair & 15;
        return type == Type.FP4 && code == FourBitTables.FP4_SIGN ? 0 : code;
    }

    @ParameterizedTest
    @CsvSource({
        "odd, NF4, false",
        "odd, NF4, true",
        "odd, FP4, false",
        "odd, FP4, true",
        "rows, NF4, false",
        "rows, NF4, true",
        "rows, FP4, false",
        "rows, FP4, true",
        "bf16, NF4, true",
        "bf16, FP4, true"
    })
    void makesWholeWhatBitsandbytesQuantized(String name, Type type, boolean nested) {
        String prefix = name + "." + type.name().toLowerCase(Locale.ROOT);
        Tensor codes = stored(prefix + ".codes");
        String form = prefix + (nested ? ".nested" : "");
        Tensor values = stored(form + ".values");
        FourBitMatrix matrix =
                new FourBitMatrix(
                        values.rows(),
                        values.cols(),
                        type,
                        codes,
                        stored(form + (nested ? ".codes" : ".absmax")),
                        nested
                                ? Optional.of(
                                        new FourBitMatrix.Nested(
                                                stored(form + ".absmax"), stored(form + ".offset")))
                                : Optional.empty());
        Tensor whole = memory.zeros(values.dtype(), values.rows(), values.cols());
        kernel.dequantize(whole, List.of(matrix));
        assertSame(values, whole);
    }

    /**
     * No element is further off than half the widest gap between two values, times the scale; and
     * the error of normal weights is what the format is known for: 0.0915 of their deviation in
     * NF4, XX in FP4. Nested scales add next to nothing.
     */
    @ParameterizedTest
    @CsvSource({
        "NF4, false, 0.091, 0.092",
        "NF4, true, 0.091, 0.092",
        "FP4, false, 0.121, 0.122",
        "FP4, true, 0.121, 0.122"
    })
    void errorsAreThoseOfTheFormat(Type type, boolean nested, double least, double most) {
        final double deviation = 0.02;
        Tensor w = memory.zeros(F32, 256, 512);
        SplittableRandom random = new SplittableRandom(7);
        for (long i = 0; i < w.elements(); i++) {
            Elements.set(w, i / w.cols(), i % w.cols(), deviation * random.nextGaussian());
        }
        FourBitMatrix matrix = empty(type, w.rows(), w.cols(), nested);
        Tensor absmax = nested ? memory.zeros(F32, 1, matrix.blocks()) : matrix.scales();
        kernel.quantize(matrix, absmax, 0, w);
        if (nested) {
            kernel.quantizeScales(matrix, absmax);
        }
        Tensor whole = memory.zeros(F32, w.rows(), w.cols());
        kernel.dequantize(whole, List.of(matrix));

        // Thresholds are published with six digits.
        double gap = widestGap(FourBitTables.values(type)) / 2 + 1e-6;
        double scaleGap = widestGap(FourBitTables.scaleValues()) / 2 + 1e-6;
        double squares = 0;
        for (long i = 0; i < w.elements(); i++) {
            double scale = Elements.get(absmax, 0, i / BLOCK);
            double bound = gap * scale;
            if (nested) {
                FourBitMatrix.Nested by = matrix.nested().get();
                double ofScale =
                        scaleGap * Elements.get(by.scales(), 0, i / BLOCK / 256)
                                + Math.ulp((float) scale);
                assertEquals(scale, scale(matrix, i / BLOCK), ofScale, "scale of element " + i);
                bound += ofScale;
            }
            double value = Elements.get(w, i / w.cols(), i % w.cols());
            double error = Elements.get(whole, i / w.cols(), i % w.cols()) - value;
            assertTrue(Math.abs(error) <= bound, i + ": " + error + " above " + bound);
            squares += error * error;
        }
        double relative = Math.sqrt(squares / w.elements()) / deviation;
        assertTrue(relative > least && relative < most, type + ": " + relative);
    }

    private static double scale(FourBitMatrix matrix, long block) {
        FourBitMatrix.Nested nested = matrix.nested().orElseThrow();
        double value = FourBitTables.scaleValues()[Elements.getInt(matrix.scales(), 0, block)];
        return value * Elements.get(nested.scales(), 0, block / 256)
                + Elements.get(nested.offset(), 0, 0);
    }

    private static double widestGap(float[] values) {
        float[] sorted = values.clone();
        Arrays.sort(sorted);
        double widest = 0;
        for (int i = 1; i < sorted.length; i++) {
            widest = Math.max(widest, (double) sorted[i] - sorted[i - 1]);
        }
        return widest;
    }

    /** Whoever quantises finds what has no code by the scale. */
    @ParameterizedTest
    @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
    void scalesShowWhatIsNotFinite(float bad) {
        Tensor w = memory.zeros(F32, 3, BLOCK);
        Elements.set(w, 1, 5, bad);
        FourBitMatrix matrix = empty(Type.NF4, 3, BLOCK, false);
        kernel.quantize(matrix, matrix.scales(), 0, w);
        assertEquals(0, Elements.get(matrix.scales(), 0, 0));
        assertFalse(Double.isFinite(Elements.get(matrix.scales(), 0, 1)));
        assertEquals(0, Elements.get(matrix.scales(), 0, 2));
    }
}
