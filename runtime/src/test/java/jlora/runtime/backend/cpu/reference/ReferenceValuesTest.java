package jlora.runtime.backend.cpu.reference;

import static jlora.runtime.backend.cpu.reference.Literals.assertValues;
import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.kernel.LinearCrossEntropyKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Optional;

/**
 * The reference against numbers that PyTorch 2.13 and Transformers 5.18 gave for the same inputs,
 * in f64 where they compute in f64: what a definition means must not depend on our reading of it
 * alone.
 */
final class ReferenceValuesTest {
    private final ReferenceBackend backend = new ReferenceBackend();
    private final Literals literals = new Literals();

    @AfterEach
    void free() {
        literals.close();
    }

    @Test
    void adamWAndClippingFollowTorch() {
        double[][] gradients = {
            {0.5, -1.0, 2.0, 0.0, 0.75},
            {0.25, 0.5, -0.125, 1e-4, 0.125},
            {0.0, 3.0, 1.0, -1.0, 0.5}
        };
        double[] norms = {2.4109127521514893, 0.5863019824028015, 3.3541018962860107};
        double[][] expected = {
            {0.899000049, -1.898, 0.399500012, 3, -0.349999994},
            {0.848524272, -1.90430868, 0.371718228, 2.96279836, -0.394963324},
            {0.822461188, -1.92310393, 0.351065606, 2.9840858, -0.4247908}
        };
        Tensor master = literals.floats(1, 1, -2, 0.5, 3, -0.25);
        Tensor m = literals.zeros(F32, 1, 5);
        Tensor v = literals.zeros(F32, 1, 5);
        Tensor norm = literals.zeros(F32, 1, 2);
        Tensor updates = literals.zeros(F32, 1, 1);
        // Decay reaches the first three.
        var settings = new AdamWKernel.Settings(0.9, 0.999, 1e-8, 0.01, 3);
        for (int step = 1; step <= 3; step++) {
            Tensor gradient = literals.floats(1, gradients[step - 1]);
            Tensor rate = literals.floats(1, 0.1 / step);
            backend.kernels().gradNorm().forward(norm, updates, gradient, 1);
            assertEquals(norms[step - 1], Elements.get(norm, 0, 0), 1e-6);
            backend.kernels()
                    .adamW()
                    .update(master, gradient, m, v, rate, norm, updates, settings, List.of());
            assertValues(master, 5e-7, expected[step - 1]);
            assertValues(gradient, 0, 0, 0, 0, 0, 0);
        }
        assertValues(m, 1e-8, 0.0392986089, 0.100845478, 0.0857586712, -0.0298052337, 0.0513550304);
        assertValues(
                v,
                2e-10,
                0.000105362247,
                0.00122144865,
                0.000791294035,
                8.88888535e-05,
                0.000134412257);
    }

    @Test
    void clippingLeavesShortGradientsAlone() {
        Tensor norm = literals.zeros(F32, 1, 2);
        Tensor updates = literals.zeros(F32, 1, 1);
        Tensor gradient = literals.floats(1, 3, -4);
        backend.kernels().gradNorm().forward(norm, updates, gradient, 10);
        assertValues(norm, 0, 5, 1);
        backend.kernels().gradNorm().forward(norm, updates, gradient, 0);
        assertValues(norm, 0, 5, 1);
        backend.kernels().gradNorm().forward(norm, updates, gradient, 2.5f);
        assertValues(norm, 1e-6, 5, 0.4999999);
    }

    @Test
    void geluFollowsTorch() {
        Tensor x = literals.floats(1, -6, -3, -1, -0.5, 0, 1, 2.5, 6);
        Tensor ones = literals.floats(1, 1, 1, 1, 1, 1, 1, 1, 1);
        Tensor out = literals.zeros(F32, 1, 8);
        backend.kernels().gelu().forward(out, x, GeluKernel.Form.ERF);
        assertValues(
                out,
                2e-7,
                -5.919525869479969e-09,
                -0.00404969409489031,
                -0.15865525393145702,
                -0.15426876936299344,
                0,
                0.841344746068543,
                2.4844758366855597,
                5.999999994080474);
        backend.kernels().gelu().backward(out, ones, x, GeluKernel.Form.ERF);
        assertValues(
                out,
                2e-7,
                -3.546870945402639e-08,
                -0.01194564720418392,
                -0.08331547058768635,
                0.13250487534383712,
                0.5,
                1.0833154705876864,
                1.037611085908145,
                1.0000000354687093);
        backend.kernels().gelu().forward(out, x, GeluKernel.Form.TANH);
        assertValues(
                out,
                2e-7,
                -8.43964897967453e-11,
                -0.0036373920817729943,
                -0.15880800939172324,
                -0.15428599017485606,
                0,
                0.8411919906082768,
                2.484915733910001,
                5.9999999999156035);
        backend.kernels().gelu().backward(out, ones, x, GeluKernel.Form.TANH);
        assertValues(
                out,
                2e-7,
                -7.709976012836329e-10,
                -0.011584166630969648,
                -0.08296408384578252,
                0.13263009646535764,
                0.5,
                1.0829640838457826,
                1.037951576212666,
                1.0000000007709977);
    }

    @Test
    void normalDistributionKeepsItsTail() {
        assertEquals(0.5, NormalDistribution.cumulative(0));
        assertEquals(0.9750021048517795, NormalDistribution.cumulative(1.96), 1e-15);
        assertEquals(0.0013498980316300933, NormalDistribution.cumulative(-3), 1e-17);
        assertEquals(9.865876450376946e-10, NormalDistribution.cumulative(-6), 1e-23);
        assertEquals(7.61985302416047e-24, NormalDistribution.cumulative(-10), 1e-37);
        assertEquals(1, NormalDistribution.cumulative(9));
        assertEquals(0.3989422804014327, NormalDistribution.density(0), 1e-16);
    }

    @Test
    void swigluFollowsTorchSilu() {
        Tensor gateUp = literals.floats(3, -3, 2, 2.5, 2, -10, 2);
        Tensor out = literals.zeros(F32, 3, 1);
        backend.kernels().swiglu().forward(out, gateUp);
        assertValues(
                out,
                5e-7,
                2 * -0.14227761953270035,
                2 * 2.3103545499468914,
                2 * -0.0004539786870243439);
        Tensor dGateUp = literals.zeros(F32, 3, 2);
        backend.kernels().swiglu().backward(dGateUp, literals.floats(3, 1, 1, 1), gateUp);
        assertValues(
                dGateUp,
                5e-7,
                2 * -0.08810410601516962,
                -0.14227761953270035,
                2 * 1.0994011113415267,
                2.3103545499468914,
                2 * -0.00040856020865708237,
                -0.0004539786870243439);
    }

    @Test
    void crossEntropyAndLabelSmoothingFollowTorch() {
        // The identity as weight makes x the logits.
        Tensor weight = literals.floats(3, 1, 0, 0, 0, 1, 0, 0, 0, 1);
        Tensor x = literals.floats(3, 1, 2, -1, 9, 9, 9, 0, 0.5, 3);
        Tensor targets = literals.ints(1, -100, 0);
        Tensor scale = literals.floats(1, 1, 1, 1);
        Tensor loss = literals.zeros(F32, 1, 1);
        Tensor dx = literals.zeros(F32, 3, 3);
        Tensor chunk = literals.zeros(F32, 2, 3);
        var workspace = new LinearCrossEntropyKernel.Workspace(chunk, chunk, chunk, chunk);
        var kernel = backend.kernels().linearCrossEntropy();
        kernel.forwardBackward(
                loss, dx, Optional.empty(), x, weight, targets, scale, 0, 3, workspace);
        assertValues(loss, 1e-6, 3.4728851751375536);
        assertValues(
                dx,
                1e-7,
                0.25949646034241913,
                -0.2946154873017588,
                0.03511902695933973,
                0,
                0,
                0,
                -0.9560135197079421,
                0.07252144568074775,
                0.8834920740271943);
        kernel.forwardBackward(
                loss, dx, Optional.empty(), x, weight, targets, scale, 0.1f, 2, workspace);
        assertValues(loss, 1e-6, 3.48955184180422);
        assertValues(
                dx,
                1e-7,
                0.2261631270090858,
                -0.22794882063509214,
                0.0017856936260063974,
                0,
                0,
                0,
                -0.8893468530412755,
                0.03918811234741442,
                0.850158740693861);
        // Each row counts by its own weight; that of a row without target does not matter.
        Tensor weights = literals.floats(1, 0.5, 77, 0.25);
        kernel.forward(loss, x, weight, targets, weights, 0, 3, workspace);
        assertValues(loss, 1e-6, 0.5 * 0.3490122167681866 + 0.25 * 3.1238729583693674);
    }

    @Test
    void normsFollowTorch() {
        Tensor x = literals.floats(1, 1, 2, 4, -3);
        Tensor weight = literals.floats(1, 1, 0.5, 2, -1);
        Tensor bias = literals.floats(1, 0, 1, -1, 0.5);
        Tensor dOut = literals.floats(1, 1, -1, 0.5, 2);
        Tensor out = literals.zeros(F32, 1, 4);
        Tensor dx = literals.zeros(F32, 1, 4);
        Tensor stats = literals.zeros(F32, 1, 2);
        Optional<Tensor> no = Optional.empty();
        Optional<Grad> frozen = Optional.empty();
        backend.kernels().layerNorm().forward(out, stats, no, x, no, weight, bias, 1e-5f);
        assertValues(out, 3e-7, 0, 1.1961159842797926, 1.3533918113575116, 2.068927874238341);
        backend.kernels().layerNorm().backward(dx, frozen, frozen, dOut, no, x, weight, stats);
        assertValues(
                dx,
                1e-7,
                0.4412609646295334,
                -0.3054881164340951,
                -0.033942420043218624,
                -0.10183042815221965);
        Tensor rstd = literals.zeros(F32, 1, 1);
        backend.kernels().rmsNorm().forward(out, rstd, no, x, no, weight, 1e-5f);
        assertValues(
                out,
                3e-7,
                0.3651481282381064,
                0.3651481282381064,
                2.921185025904851,
                1.0954443847143192);
        backend.kernels().rmsNorm().backward(dx, frozen, dOut, no, x, weight, rstd);
        assertValues(
                dx,
                1e-7,
                0.24343224777991154,
                -0.4260058250354429,
                -0.12171539359467298,
                -0.3651486151016282);
    }

    @Test
    void rotationFollowsTransformers() {
        var shape = new AttentionShape(1, 1, 4, 1, 0);
        Tensor table = literals.zeros(F32, 3, 4);
        backend.kernels()
                .rope()
                .table(table, literals.ints(0, 1, 7), literals.floats(1, 1, 0.01f), 1);
        assertValues(
                table,
                1e-7,
                1,
                1,
                0,
                0,
                0.5403023362159729,
                0.9999499917030334,
                0.8414709568023682,
                0.009999833069741726,
                0.7539022564888,
                0.9975510239601135,
                0.6569865942001343,
                0.06994284689426422);
        double[][] rows = {
            {1, 2, 3, 4, -6, -5, -4, -3, 7, 8, 9, 10},
            {5, 6, 7, 8, -2, -1, 0, 1, 7, 8, 9, 10},
            {9, 10, 11, 12, 2, 3, 4, 5, 7, 8, 9, 10}
        };
        Tensor qkv = literals.zeros(F32, 3, 12);
        for (int t = 0; t < 3; t++) {
            for (int c = 0; c < 12; c++) {
                Elements.set(qkv, t, c, rows[t][c]);
            }
        }
        Tensor out = literals.zeros(F32, 3, 12);
        backend.kernels().rope().forward(out, qkv, table, shape);
        assertValues(out.rows(0, 1), 0, rows[0]);
        assertValues(
                out.rows(1, 1).columns(0, 8),
                2e-6,
                -3.1887853145599365,
                5.91970157623291,
                7.989470958709717,
                8.059598922729492,
                -1.0806046724319458,
                -1.009949803352356,
                -1.6829419136047363,
                0.9899501800537109);
        assertValues(
                out.rows(2, 1).columns(0, 8),
                2e-6,
                -0.44173192977905273,
                9.13619613647461,
                14.205804824829102,
                12.67004108428955,
                -1.120141863822937,
                2.6429388523101807,
                4.329582214355469,
                5.1975836753845215);
        assertValues(out.columns(8, 4).rows(2, 1), 0, 7, 8, 9, 10);
    }

    @Test
    void bfloat16RoundsToNearestEven() {
        Tensor tensor = literals.zeros(BF16, 1, 1);
        double[] values = {
            1.00390625,
            1.01171875,
            // Just above a tie, by less than f32 can tell: rounding twice would go down.
            1.00390625 + 0x1p-40,
            -3.0000001,
            3.4e38,
            1e-40,
            0.1,
            65504,
            Double.NaN,
            Double.NEGATIVE_INFINITY,
            -0.0
        };
        int[] bits = {
            0x3f80, 0x3f82, 0x3f81, 0xc040, 0x7f80, 0x0001, 0x3dcd, 0x4780, 0x7fc0, 0xff80, 0x8000
        };
        for (int i = 0; i < values.length; i++) {
            Elements.set(tensor, 0, 0, values[i]);
            int stored = tensor.segment().get(ValueLayout.JAVA_SHORT, 0) & 0xffff;
            assertEquals(Integer.toHexString(bits[i]), Integer.toHexString(stored), "" + values[i]);
        }
    }

    @Test
    void elementsOutsideTheViewAreRefused() {
        Tensor tensor = literals.zeros(F32, 2, 6).columns(1, 4);
        assertThrows(IndexOutOfBoundsException.class, () -> Elements.get(tensor, 0, 4));
        assertThrows(IndexOutOfBoundsException.class, () -> Elements.set(tensor, 2, 0, 1));
        assertThrows(IllegalArgumentException.class, () -> Elements.getInt(tensor, 0, 0));
    }
}
