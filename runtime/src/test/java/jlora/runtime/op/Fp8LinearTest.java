package jlora.runtime.op;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.backend.cpu.reference.Elements;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.backend.cuda.Emulator;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Recompute;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Placement;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;

/**
 * A linear layer over a frozen FP8 weight, against the same layer over the weight that the codes
 * stand for: its adapters' gradients are the same bits, and its results differ by what quantising
 * the activations costs.
 */
class Fp8LinearTest {
    private static final int TOKENS = 16;
    private static final int IN = 160;
    private static final int OUT = 144;
    private static final int RANK = 8;

    /** Half a unit of a code's last place is up to 1/16 of it; errors of many terms average out. */
    private static final double FORMAT_ERROR = 0.04;

    private record Results(double[] y, double[] dx, double[] dA, double[] dB) {}

    /** One layer in the memory of a backend, its inputs and the gradient of its result given. */
    private static final class Layer implements AutoCloseable {
        private final Backend backend;
        private final DType dtype;
        private final Scaling scaling;
        private final List<MemoryArena> arenas = new ArrayList<>();
        private final List<Storage> storages = new ArrayList<>();
        private final Map<Tensor, Tensor> gradients = new HashMap<>();
        private final Tensor x;
        private final Tensor dy;
        private final Tensor whole;
        private final Tensor bias;
        private final Tensor rng;
        private final Fp8Matrix weight;
        private final Fp8Matrix transposed;
        private final Border border;

        Layer(Backend backend, DType dtype, Scaling scaling, float dropout) {
            this.backend = backend;
            this.dtype = dtype;
            this.scaling = scaling;
            x = padded("x", TOKENS, IN, RANK);
            dy = padded("dy", TOKENS, OUT, RANK);
            // What the codes stand for, with the border around it.
            Tensor tall = padded("w", OUT + RANK, IN, RANK);
            whole = tall.rows(0, OUT);
            bias = padded("bias", 1, OUT, 0);
            rng = placed(Tensor.dense("rng", Storage.Role.RESULT, DType.I32, 1, 3));
            weight = matrix("w8", OUT, IN, scaling);
            transposed = matrix("w8t", IN, OUT, scaling.ofTranspose());
            border = border(tall, dropout);
            for (LowRankBorder.Block block : border.blocks()) {
                for (Tensor value : List.of(block.a(), block.b())) {
                    gradient(value);
                }
            }
            gradient(x);
            arenas.add(Placement.allocate(backend, "layer", storages));
            fill(tall);
        }

        private Border border(Tensor tall, float dropout) {
            Tensor a = tall.rows(OUT, RANK);
            Tensor b = whole.columns(IN, RANK);
            Tensor lastB =
                    new Tensor(
                            "b1",
                            tall.storage(),
                            dtype,
                            OUT - 100,
                            2,
                            100 * tall.stride() + IN + 3,
                            tall.stride());
            var first =
                    new LowRankBorder.Block(
                            a.rows(0, 3), b.rows(0, 100).columns(0, 3), 0, 0, 0, 2, dropout, 1);
            var last = new LowRankBorder.Block(a.rows(3, 2), lastB, 0, 100, 3, 0.5f, 0, 2);
            return new Border(
                    new LowRankBorder(a, b, List.of(first, last)),
                    whole.columns(0, IN + RANK),
                    tall);
        }

        private Tensor placed(Tensor tensor) {
            storages.add(tensor.storage());
            return tensor;
        }

        private Tensor padded(String name, long rows, long cols, long pad) {
            return placed(Tensor.padded(name, Storage.Role.RESULT, dtype, rows, cols, pad));
        }

        private Fp8Matrix matrix(String name, long rows, long cols, Scaling by) {
            return Fp8Matrix.allocate(
                    rows,
                    cols,
                    by,
                    (what, type, r, c) ->
                            placed(
                                    Tensor.dense(
                                            name + "." + what, Storage.Role.WEIGHT, type, r, c)));
        }

        private void gradient(Tensor value) {
            gradients.put(
                    value,
                    placed(
                            Tensor.dense(
                                    "d" + value.name(),
                                    Storage.Role.GRADIENT,
                                    DType.F32,
                                    value.rows(),
                                    value.cols())));
        }

        private void fill(Tensor tall) {
            Random random = new Random(3);
            write(x, normal(random, x, 1));
            write(dy, normal(random, dy, 1));
            write(bias, normal(random, bias, 1));
            backend.upload(rng, MemorySegment.ofArray(new int[] {1, 2, 3}));
            // As the loader has it: 128 rows at a time, quantised, and gone.
            write(whole, normal(random, whole, 0.1));
            for (int row = 0; row < OUT; row += Fp8Matrix.BLOCK) {
                int rows = Math.min(Fp8Matrix.BLOCK, OUT - row);
                backend.kernels()
                        .fp8()
                        .quantize(weight.rows(row, rows), whole.rows(row, rows), Optional.empty());
            }
            backend.kernels().fp8().transpose(transposed, weight);
            backend.kernels().fp8().dequantize(whole, weight);
            for (LowRankBorder.Block block : border.blocks()) {
                write(block.a(), normal(random, block.a(), 1));
                write(block.b(), normal(random, block.b(), 1));
            }
        }

        private static double[] normal(Random random, Tensor like, double sigma) {
            double[] values = new double[(int) like.elements()];
            for (int i = 0; i < values.length; i++) {
                values[i] = sigma * random.nextGaussian();
            }
            return values;
        }

        private void write(Tensor to, double[] values) {
            try (MemoryArena host = MemoryArena.host("values", to.elements() * 4)) {
                Tensor dense = dense(to, host);
                for (int i = 0; i < values.length; i++) {
                    Elements.set(dense, i / to.cols(), i % to.cols(), values[i]);
                }
                backend.upload(to, dense.segment());
            }
        }

        private double[] read(Tensor from) {
            try (MemoryArena host = MemoryArena.host("values", from.elements() * 4)) {
                Tensor dense = dense(from, host);
                backend.download(dense.segment(), from);
                double[] values = new double[(int) from.elements()];
                for (int i = 0; i < values.length; i++) {
                    values[i] = Elements.get(dense, i / from.cols(), i % from.cols());
                }
                return values;
            }
        }

        private static Tensor dense(Tensor like, MemoryArena host) {
            Tensor dense =
                    Tensor.dense(
                            like.name(),
                            Storage.Role.RESULT,
                            like.dtype(),
                            like.rows(),
                            like.cols());
            host.place(dense.storage(), 0);
            return dense;
        }

        private Tensor frozen(Trace trace, boolean bordered) {
            return Linear.apply(
                    trace,
                    "layer",
                    x,
                    weight,
                    Optional.of(transposed),
                    Optional.of(bias),
                    Optional.of(border.lowRank()).filter(_ -> bordered),
                    Optional.empty(),
                    rng);
        }

        private Tensor plain(Trace trace, boolean bordered) {
            return Linear.apply(
                    trace,
                    "layer",
                    x,
                    whole,
                    Optional.of(bias),
                    Optional.of(border).filter(_ -> bordered),
                    Optional.empty(),
                    rng);
        }

        /** The layer over codes, or over what they stand for. */
        Results train(boolean fp8, boolean bordered) {
            Trace forward = Trace.training(dtype, gradients);
            Tensor result = fp8 ? frozen(forward, bordered) : plain(forward, bordered);
            double[] y = run(forward.finish());
            assertEquals(result.elements(), y.length);

            Trace trace = Trace.training(dtype, gradients);
            trace.given(fp8 ? frozen(trace, bordered) : plain(trace, bordered), dy);
            double[] dx = run(trace.finish());
            LowRankBorder.Block block = border.blocks().getFirst();
            return new Results(
                    y, dx, read(gradients.get(block.a())), read(gradients.get(block.b())));
        }

        /**
         * What the last step writes: whatever else lies in the arena may be overwritten by then.
         */
        double[] run(Plan plan) {
            gradients.values().forEach(this::zero);
            try (MemoryArena arena = backend.allocate("plan", plan.arenaBytes())) {
                plan.bind(arena);
                plan.run(backend);
                return read(plan.steps().getLast().writes().getFirst());
            }
        }

        private void zero(Tensor gradient) {
            write(gradient, new double[(int) gradient.elements()]);
        }

        @Override
        public void close() {
            arenas.forEach(MemoryArena::close);
        }
    }

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
                Layer layer = new Layer(backend, dtype, scaling, dropout)) {
            Results fp8 = layer.train(true, true);
            Results plain = layer.train(false, true);
            assertArrayEquals(plain.dA, fp8.dA);
            assertArrayEquals(plain.dB, fp8.dB);
            assertTrue(difference(plain.y, fp8.y) < FORMAT_ERROR);
            assertTrue(difference(plain.dx, fp8.dx) < FORMAT_ERROR);
            Results frozen = layer.train(true, false);
            Results without = layer.train(false, false);
            assertTrue(difference(without.y, frozen.y) < FORMAT_ERROR);
            assertTrue(difference(without.dx, frozen.dx) < FORMAT_ERROR);
            assertTrue(difference(plain.y, without.y) > 0.1, "the border counts");
            assertTrue(difference(plain.dx, without.dx) > 0.1, "the border counts");
        }
    }

    /** From the definition, in doubles, with activations as they are quantised. */
    @ParameterizedTest
    @EnumSource(names = {"ROW", "BLOCK"})
    void resultsAreThoseOfTheQuantisedActivations(Scaling scaling) {
        try (Backend backend = new ReferenceBackend();
                Layer layer = new Layer(backend, DType.F32, scaling, 0)) {
            Results got = layer.train(true, true);
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
            assertArrayEquals(y, got.y, 2e-5);
            assertArrayEquals(dx, got.dx, 2e-4);
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
        Results expected;
        try (Backend backend = new ReferenceBackend();
                Layer layer = new Layer(backend, dtype, scaling, 0.3f)) {
            expected = layer.train(true, true);
        }
        double limit = dtype == DType.F32 ? 1e-6 : 4e-3;
        try (Backend backend = new CpuBackend(new CpuOptions(2, ProductLibrary.AUTO));
                Layer layer = new Layer(backend, dtype, scaling, 0.3f)) {
            assertNear(expected, layer.train(true, true), limit);
        }
        try (Backend backend = Emulator.open().backend();
                Layer layer = new Layer(backend, dtype, scaling, 0.3f)) {
            assertNear(expected, layer.train(true, true), limit);
        }
    }

    private static void assertNear(Results expected, Results got, double limit) {
        assertTrue(difference(expected.y, got.y) < limit);
        assertTrue(difference(expected.dx, got.dx) < limit);
        assertTrue(difference(expected.dA, got.dA) < limit);
        assertTrue(difference(expected.dB, got.dB) < limit);
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
                Layer layer = new Layer(backend, DType.F32, scaling, 0)) {
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
                Layer layer = new Layer(backend, DType.F32, Scaling.ROW, 0)) {
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
