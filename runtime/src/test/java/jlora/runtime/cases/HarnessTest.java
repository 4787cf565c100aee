package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.F32;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.reference.Elements;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.kernel.SwigluKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.Test;

import java.util.List;
import java.util.Optional;

/** The harness finds kernels that are wrong, each in one way. */
final class HarnessTest {
    private static final Backend HOST = new ReferenceBackend();
    private static final SwigluCase CASE = new SwigluCase(5, 9, F32, 1, Layout.PADDED);

    /** Computes what the reference does, then spoils it. */
    private record Spoiled(Spoiler forward, Spoiler backward) implements SwigluKernel {
        interface Spoiler {
            void spoil(Tensor result, Tensor input);
        }

        private static final Spoiler NOT = (result, input) -> {};

        @Override
        public void forward(Tensor out, Tensor gateUp) {
            HOST.kernels().swiglu().forward(out, gateUp);
            forward.spoil(out, gateUp);
        }

        @Override
        public void backward(Tensor dGateUp, Tensor dOut, Tensor gateUp) {
            HOST.kernels().swiglu().backward(dGateUp, dOut, gateUp);
            backward.spoil(dGateUp, gateUp);
        }
    }

    private static String complaint(Spoiled.Spoiler forward) {
        SwigluKernel kernel = new Spoiled(forward, Spoiled.NOT);
        return assertThrows(
                        AssertionError.class,
                        () -> Agreement.check(CASE, kernel, HOST, HOST.kernels().swiglu()))
                .getMessage();
    }

    private static void assertContains(String part, String whole) {
        assertTrue(whole.contains(part), whole);
    }

    @Test
    void acceptsTheReference() {
        Agreement.check(CASE, new Spoiled(Spoiled.NOT, Spoiled.NOT), HOST, HOST.kernels().swiglu());
    }

    @Test
    void findsOneWrongElement() {
        String complaint =
                complaint((out, in) -> Elements.set(out, 4, 8, Elements.get(out, 4, 8) * 1.00001));
        assertContains("forward: out[4,8]", complaint);
    }

    @Test
    void findsAnElementThatIsNotWritten() {
        assertContains(
                "out[0,0]",
                complaint(
                        (out, in) ->
                                Elements.set(out, 0, 0, Float.intBitsToFloat(Placed.POISON_NAN))));
    }

    @Test
    void findsAWriteIntoPadColumns() {
        assertContains("outside", complaint((out, in) -> Elements.set(out.columns(9, 1), 2, 0, 3)));
    }

    @Test
    void findsAWriteBehindTheLastRow() {
        Spoiled.Spoiler spoiler =
                (out, in) ->
                        Elements.set(
                                new Tensor(
                                        "", out.storage(), F32, 6, 9, out.offset(), out.stride()),
                                5,
                                0,
                                3);
        assertContains("outside", complaint(spoiler));
    }

    @Test
    void findsAWriteIntoAnInput() {
        assertContains(
                "gateUp",
                complaint((out, in) -> Elements.set(in, 0, 0, Elements.get(in, 0, 0) + 1)));
    }

    @Test
    void findsResultsThatChangeWithinTheTolerance() {
        boolean[] second = {false};
        Spoiled.Spoiler spoiler =
                (out, in) -> {
                    if (second[0]) {
                        Elements.set(out, 1, 1, Math.nextUp((float) Elements.get(out, 1, 1)));
                    }
                    second[0] = true;
                };
        assertContains("second run", complaint(spoiler));
    }

    @Test
    void differencesFindAWrongGradient() {
        SwigluKernel kernel =
                new Spoiled(
                        Spoiled.NOT,
                        (dx, in) -> {
                            for (int t = 0; t < dx.rows(); t++) {
                                Elements.set(dx, t, 7, Elements.get(dx, t, 7) * 1.2);
                            }
                        });
        AssertionError error =
                assertThrows(AssertionError.class, () -> FiniteDifferences.check(CASE, kernel));
        assertContains("dGateUp", error.getMessage());
    }

    /** Overwrites where it should add, or the other way round. */
    private static final class WrongMode implements LinearKernel {
        @Override
        public void forward(Tensor out, Tensor x, Tensor weight, Optional<Tensor> bias) {
            HOST.kernels().linear().forward(out, x, weight, bias);
        }

        @Override
        public void backwardInput(Grad dx, Tensor dOut, Tensor weight) {
            HOST.kernels()
                    .linear()
                    .backwardInput(new Grad(dx.tensor(), !dx.accumulate()), dOut, weight);
        }

        @Override
        public void backwardWeight(Grad dWeight, Tensor dOut, Tensor x, float scale) {
            HOST.kernels().linear().backwardWeight(dWeight, dOut, x, scale);
        }

        @Override
        public void backwardBias(Grad dBias, Tensor dOut) {
            HOST.kernels().linear().backwardBias(dBias, dOut);
        }
    }

    @Test
    void findsOverwritingForAddingAndAddingForOverwriting() {
        for (boolean accumulate : List.of(false, true)) {
            var opCase = new LinearCase(3, 4, 5, F32, F32, true, accumulate, Layout.ODD);
            AssertionError error =
                    assertThrows(
                            AssertionError.class,
                            () ->
                                    Agreement.check(
                                            opCase,
                                            new WrongMode(),
                                            HOST,
                                            HOST.kernels().linear()));
            assertContains("backwardInput: dx", error.getMessage());
            assertThrows(
                    AssertionError.class, () -> FiniteDifferences.check(opCase, new WrongMode()));
        }
    }

    @Test
    void speedCountsBytesAndOperations() {
        var opCase = new LinearCase(3, 4, 5, F32, F32, true, true, Layout.ODD);
        List<Speed> speeds = Speed.measure(opCase, HOST.kernels().linear(), HOST, 0.001);
        assertEquals(
                List.of("forward", "backwardInput", "backwardWeight", "backwardBias"),
                speeds.stream().map(Speed::pass).toList());
        assertEquals(4 * (3 * 4 + 5 * 4 + 5 + 3 * 5), speeds.get(0).bytes());
        assertEquals(4 * (3 * 5 + 5 * 4 + 2 * 3 * 4), speeds.get(1).bytes());
        assertEquals(2 * 3 * 4 * 5, speeds.get(0).flops());
        assertTrue(speeds.get(0).seconds() > 0);
    }
}
