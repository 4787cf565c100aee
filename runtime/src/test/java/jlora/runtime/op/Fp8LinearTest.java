package jlora.runtime.op;

import static jlora.runtime.op.Fp8Layer.IN;
import static jlora.runtime.op.Fp8Layer.OUT;
import static jlora.runtime.op.Fp8Layer.RANK;
import static jlora.runtime.op.Fp8Layer.TOKENS;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.backend.cuda.Emulator;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Recompute;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A linear layer over a frozen FP8 weight, against the same layer over the weight that the codes
 * stand for: its adapters' gradients are the same bits, and its results differ by what quantising
 * the activations costs.
 */
class Fp8LinearTest {

    /** Half a unit of a code's last place is up to 1/16 of it; errors of many terms average out. */
    private static final double FORMAT_ERROR = 0.04;

    @ParameterizedTest
    @CsvSource({
        "ROW, F32, 0",
        "BLOCK, F32, 0",
        "ROW, BF16, 0.3",
        "BLOCK, BF16, 0.3",
        "ROW, F32, 0.3"
    })
    void adaptersTrainAsOverTheWeightThatTheCodesStandFor(
            Scaling scaling, DType dtype, float dropout) {
        try (Backend backend = new ReferenceBackend();
                Fp8Layer layer = new Fp8Layer(backend, dtype, scaling, dropout)) {
            Fp8Layer.Results fp8 = layer.train(true, true);
            Fp8Layer.Results plain = layer.train(false, true);
            assertArrayEquals(plain.dA(), fp8.dA());
            assertArrayEquals(plain.dB(), fp8.dB());
            assertTrue(difference(plain.y(), fp8.y()) < FORMAT_ERROR);
            assertTrue(difference(plain.dx(), fp8.dx()) < FORMAT_ERROR);
            Fp8Layer.Results frozen = layer.train(true, false);
            Fp8Layer.Results without = layer.train(false, false);
            assertTrue(difference(without.y(), frozen.y()) < FORMAT_ERROR);
            assertTrue(difference(without.dx(), frozen.dx()) < FORMAT_ERROR);
            assertTrue(difference(plain.y(), without.y()) > 0.1, "the border counts");
            assertTrue(difference(plain.dx(), without.dx()) > 0.1, "the border counts");
        }
    }

    /** From the definition, in doubles, with activations as they are quantised. */
    @ParameterizedTest
    @EnumSource(names = {"ROW", "BLOCK"})
    void resultsAreThoseOfTheQuantisedActivations(Scaling scaling) {
        try (Backend backend = new ReferenceBackend();
                Fp8Layer layer = new Fp8Layer(backend, DType.F32, scaling, 0)) {
            Fp8Layer.Results got = layer.train(true, true);
            double[] w = layer.read(layer.whole);
            double[] a = layer.read(layer.border.lowRank().a());
            double[] b = layer.read(layer.border.lowRank().b());
            double[] x = layer.read(layer.x);
            double[] dy = layer.read(layer.dy);
            double[] bias = layer.read(layer.bias);
            double[] scales = new double[OUT];
            for (int n = 0; n < OUT; n++) {
                scales[n] =
                        scaling == Scaling.ROW
                                ? layer.read(layer.weight.scales().orElseThrow())[n]
                                : 1;
            }
            double[] x8 = quantised(x, IN, scaling, null);
            double[] dy8 = quantised(dy, OUT, scaling, scaling == Scaling.ROW ? scales : null);
            double[] y = new double[TOKENS * OUT];
            double[] dx = new double[TOKENS * IN];
            for (int t = 0; t < TOKENS; t++) {
                for (int n = 0; n < OUT; n++) {
                    double sum = bias[n];
                    for (int k = 0; k < IN; k++) {
                        sum += x8[t * IN + k] * w[n * IN + k];
                    }
                    for (int r = 0; r < 5; r++) {
                        sum += dot(x, t * IN, a, r * IN, IN) * b[n * RANK + r];
                    }
                    y[t * OUT + n] = sum;
                }
                for (int k = 0; k < IN; k++) {
                    double sum = 0;
                    for (int n = 0; n < OUT; n++) {
                        sum += dy8[t * OUT + n] * w[n * IN + k] / scales[n];
                    }
                    for (int r = 0; r < 5; r++) {
                        double du = 0;
                        for (int n = 0; n < OUT; n++) {
                            du += dy[t * OUT + n] * b[n * RANK + r];
                        }
                        sum += du * a[r * IN + k];
                    }
                    dx[t * IN + k] = sum;
                }
            }
            assertArrayEquals(y, got.y(), 2e-5);
            assertArrayEquals(dx, got.dx(), 2e-4);
        }
    }

    private static double dot(double[] a, int from, double[] b, int at, int count) {
        double sum = 0;
        for (int i = 0; i < count; i++) {
            sum += a[from + i] * b[at + i];
        }
        return sum;
    }

    /** Values rounded to multiples of what the contract says, without a table of codes. */
    private static double[] quantised(
            double[] values, int cols, Scaling scaling, double[] factors) {
        int group = scaling == Scaling.ROW ? cols : Fp8Matrix.BLOCK;
        double[] result = new double[values.length];
        for (int row = 0; row < values.length; row += cols) {
            for (int col = 0; col < cols; col += group) {
                float largest = 0;
                float[] scaled = new float[Math.min(group, cols - col)];
                for (int i = 0; i < scaled.length; i++) {
                    float factor = factors == null ? 1 : (float) factors[col + i];
                    scaled[i] = (float) values[row + col + i] * factor;
                    largest = Math.max(largest, Math.abs(scaled[i]));
                }
                for (int i = 0; i < scaled.length; i++) {
                    double value = scaled[i] * (448 / largest);
                    int exponent = Math.max(-6, Math.getExponent(value));
                    double unit = Math.scalb(1.0, exponent - 3);
                    double rounded = Math.rint(value / unit) * unit;
                    result[row + col + i] = Math.clamp(rounded, -448, 448) * (largest / 448);
                }
            }
        }
        return result;
    }

    @ParameterizedTest
    @CsvSource({"ROW, F32", "BLOCK, F32", "ROW, BF16", "BLOCK, BF16"})
    void theProcessorAndTheGpuAgreeWithTheReference(Scaling scaling, DType dtype) {
        Fp8Layer.Results expected;
        try (Backend backend = new ReferenceBackend();
                Fp8Layer layer = new Fp8Layer(backend, dtype, scaling, 0.3f)) {
            expected = layer.train(true, true);
        }
        double limit = dtype == DType.F32 ? 1e-6 : 4e-3;
        try (Backend backend = new CpuBackend(new CpuOptions(2, ProductLibrary.AUTO));
                Fp8Layer layer = new Fp8Layer(backend, dtype, scaling, 0.3f)) {
            assertNear(expected, layer.train(true, true), limit);
        }
        try (Backend backend = Emulator.open().backend();
                Fp8Layer layer = new Fp8Layer(backend, dtype, scaling, 0.3f)) {
            assertNear(expected, layer.train(true, true), limit);
        }
    }

    private static void assertNear(Fp8Layer.Results expected, Fp8Layer.Results got, double limit) {
        assertTrue(difference(expected.y(), got.y()) < limit);
        assertTrue(difference(expected.dx(), got.dx()) < limit);
        assertTrue(difference(expected.dA(), got.dA()) < limit);
        assertTrue(difference(expected.dB(), got.dB()) < limit);
    }

    private static double difference(double[] expected, double[] got) {
        assertEquals(expected.length, got.length);
        double squares = 0;
        double differences = 0;
        for (int i = 0; i < expected.length; i++) {
            squares += expected[i] * expected[i];
            differences += (got[i] - expected[i]) * (got[i] - expected[i]);
        }
        return Math.sqrt(differences / squares);
    }

    /** The product is repeated with the low-rank term that it adds to. */
    @ParameterizedTest
    @EnumSource(names = {"ROW", "BLOCK"})
    void recomputingChangesNoBit(Scaling scaling) {
        try (Backend backend = new ReferenceBackend();
                Fp8Layer layer = new Fp8Layer(backend, DType.F32, scaling, 0)) {
            List<double[]> all = new ArrayList<>();
            for (Recompute recompute : List.of(Recompute.none(), Recompute.full())) {
                Trace trace = Trace.training(DType.F32, layer.gradients);
                trace.enterLayer(0);
                Tensor half = Gelu.apply(trace, layer.frozen(trace, true), GeluKernel.Form.ERF, 0);
                trace.enterLayer(-1);
                trace.given(half, layer.dy);
                Plan plan = trace.finish(recompute);
                long products =
                        plan.steps().stream()
                                .filter(step -> step.label().equals("fp8.multiply"))
                                .count();
                assertEquals(all.isEmpty() ? 2 : 3, products);
                all.add(layer.run(plan));
            }
            assertArrayEquals(all.get(0), all.get(1));
        }
    }

    @Test
    void aGradientNeedsTheTranspose() {
        try (Backend backend = new ReferenceBackend();
                Fp8Layer layer = new Fp8Layer(backend, DType.F32, Scaling.ROW, 0)) {
            Trace trace = Trace.training(DType.F32, layer.gradients);
            Tensor y =
                    Linear.apply(
                            trace,
                            "layer",
                            layer.x,
                            layer.weight,
                            Optional.empty(),
                            Optional.empty(),
                            Optional.empty(),
                            Optional.empty(),
                            layer.rng);
            trace.given(y, layer.dy);
            String sentence =
                    assertThrows(IllegalArgumentException.class, trace::finish).getMessage();
            assertTrue(sentence.startsWith("layer: "), sentence);
        }
    }
}
