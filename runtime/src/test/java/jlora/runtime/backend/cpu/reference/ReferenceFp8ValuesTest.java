package jlora.runtime.backend.cpu.reference;

import static jlora.runtime.backend.cpu.reference.Literals.assertValues;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.tensor.E4m3;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

import java.util.Optional;

/** FP8 codes against those of PyTorch 2.13's {@code torch.float8_e4m3fn}, and its arithmetic. */
final class ReferenceFp8ValuesTest {
    private final Literals literals = new Literals();

    @AfterEach
    void free() {
        literals.close();
    }

    @Test
    void codesFollowTorch() {
        double[] values = {
            0.0,
            1.0,
            -1.5,
            448.0,
            447.0,
            -300.0,
            0.0625,
            17.0,
            18.0,
            19.0,
            20.0,
            0x1p-6,
            0x1p-7,
            0x1p-9,
            0x1p-10,
            0x1.8p-9,
            0x1.4p-8,
            3.3 * 0x1p-9,
            0.0146484375,
            1.0625,
            1.1875,
            464.0,
            3.14159,
            -0.001,
            1e-6
        };
        int[] codes = {
            0x00, 0x38, 0xbc, 0x7e, 0x7e, 0xf9, 0x18, 0x58, 0x59, 0x5a, 0x5a, 0x08, 0x04, 0x01,
            0x00, 0x02, 0x02, 0x03, 0x08, 0x38, 0x3a, 0x7e, 0x45, 0x81, 0x00
        };
        for (int i = 0; i < values.length; i++) {
            assertEquals(codes[i], E4m3.nearest(values[i]) & 0xff, "code of " + values[i]);
        }
    }

    /** Where PyTorch gives NaN beyond 464: what is quantised is scaled to fit. */
    @Test
    void beyondTheRangeIsTheLargest() {
        assertEquals(0x7e, E4m3.nearest(1e30));
        assertEquals((byte) 0xfe, E4m3.nearest(Double.NEGATIVE_INFINITY));
        assertEquals(0x7f, E4m3.nearest(Double.NaN));
        assertEquals((byte) 0x80, E4m3.nearest(-0.0));
    }

    @Test
    void valuesFollowTorch() {
        int[] codes = {
            0x00, 0x01, 0x07, 0x08, 0x0f, 0x38, 0x3c, 0x7e, 0x7f, 0x81, 0xb8, 0xfe, 0xff
        };
        double[] values = {
            0.0,
            0.001953125,
            0.013671875,
            0.015625,
            0.029296875,
            1.0,
            1.5,
            448.0,
            Double.NaN,
            -0.001953125,
            -1.0,
            -448.0,
            Double.NaN
        };
        for (int i = 0; i < codes.length; i++) {
            assertEquals(values[i], E4m3.value((byte) codes[i]), "value of " + codes[i]);
        }
    }

    @Test
    void everyCodeIsItsOwnNearestAndFollowsTheFormula() {
        for (int code = 0; code < 256; code++) {
            int exponent = code >> 3 & 15;
            double mantissa = (code & 7) / 8.0;
            double magnitude =
                    exponent == 0
                            ? Math.scalb(mantissa, -6)
                            : Math.scalb(1 + mantissa, exponent - 7);
            if ((code & 0x7f) == 0x7f) {
                assertEquals(Float.NaN, E4m3.value((byte) code));
                continue;
            }
            assertEquals(code < 128 ? magnitude : -magnitude, E4m3.value((byte) code));
            assertEquals((byte) code, E4m3.nearest(E4m3.value((byte) code)));
        }
    }

    /** scale = amax/448, q = (x·(448/amax)).to(float8_e4m3fn), with amax at least 2⁻¹⁰⁰. */
    @Test
    void rowsAreQuantisedAsTorchDoes() {
        Tensor x =
                literals.floats(
                        3, 0.5, -1.25, 3, 100, 0.007, 0, 0, 0, 0, 0, 1e-3, -2e-3, 3e-3, 4.4e-3,
                        5e-3);
        Fp8Matrix q =
                Fp8Matrix.allocate(
                        3, 5, Scaling.ROW, (what, dtype, r, c) -> literals.zeros(dtype, r, c));
        ReferenceFp8 kernel = new ReferenceFp8();
        kernel.quantize(q, x, Optional.empty());
        assertValues(
                q.scales().orElseThrow(),
                0,
                0.2232142835855484,
                1.7608503135844695e-33,
                1.1160714166180696e-05);
        assertValues(
                q.codes(), 0, 2.25, -5.5, 13, 448, 0.03125, 0, 0, 0, 0, 0, 88, -176, 256, 384, 448);
        Tensor whole = literals.zeros(x.dtype(), 3, 5);
        kernel.dequantize(whole, q);
        assertValues(
                whole,
                0,
                0.5022321343421936,
                -1.2276785373687744,
                2.9017856121063232,
                100,
                0.0069754463620483875,
                0,
                0,
                0,
                0,
                0,
                0.0009821428684517741,
                -0.0019642857369035482,
                0.0028571428265422583,
                0.004285714123398066,
                0.004999999888241291);
    }
}
