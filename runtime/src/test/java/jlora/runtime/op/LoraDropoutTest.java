package jlora.runtime.op;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Recompute;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.BorderedWeight;
import jlora.runtime.weight.ModelWeights;
import jlora.runtime.weight.Placement;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;

/**
 * A bordered linear layer whose blocks drop different shares of their inputs, from an embedding
 * that is trained too to a cross-entropy: the gradients of everything against differences of the
 * loss.
 */
class LoraDropoutTest {
    private static final int TOKENS = 13;
    private static final int IN = 10;
    private static final int OUT = 12;
    private static final int VOCABULARY = 17;

    private final Backend backend = new ReferenceBackend();
    private final List<MemoryArena> arenas = new ArrayList<>();
    private final ModelWeights weights = new ModelWeights(DType.F32);
    private final Tensor table = weights.plain("table", VOCABULARY, IN);
    private final Tensor norm = weights.plain("norm", 1, IN);
    private final Tensor head = weights.plain("head", VOCABULARY, OUT);
    private final BorderedWeight weight = weights.bordered("w", List.of((long) OUT), IN);
    private final Tensor ids = input("ids", DType.I32, TOKENS);
    private final Tensor targets = input("targets", DType.I32, TOKENS);
    private final Tensor scale = input("scale", DType.F32, TOKENS);
    private final Tensor rng = input("rng", DType.I32, 3);
    private final Tensor adapterOfRow = input("adapter_of_row", DType.I32, TOKENS);
    private final Tensor loss = Tensor.dense("loss", Storage.Role.RESULT, DType.F32, 1, 1);
    private final Map<Tensor, Tensor> gradients = new HashMap<>();
    private boolean mixed;

    private static Tensor input(String name, DType dtype, long cols) {
        return Tensor.dense(name, Storage.Role.INPUT, dtype, 1, cols);
    }

    /** Two blocks on different rows of the weight, of one adapter or of two. */
    private void load(float firstDropout, float secondDropout, boolean twoAdapters) {
        mixed = twoAdapters;
        weight.reserve(0, 0, 5, 3, 1.7f, firstDropout, 1);
        weight.reserve(twoAdapters ? 1 : 0, 5, 7, 2, 0.6f, secondDropout, 2);
        weights.seal();
        arenas.add(weights.allocate(backend));
        List<Storage> inputs = new ArrayList<>();
        for (Tensor t : List.of(ids, targets, scale, rng, adapterOfRow, loss)) {
            inputs.add(t.storage());
        }
        List<Tensor> trained = new ArrayList<>(List.of(table));
        weight.border().orElseThrow().blocks().forEach(b -> trained.addAll(List.of(b.a(), b.b())));
        for (Tensor value : trained) {
            Tensor gradient =
                    Tensor.dense(
                            "d" + value.name(),
                            Storage.Role.GRADIENT,
                            DType.F32,
                            value.rows(),
                            value.cols());
            gradients.put(value, gradient);
            inputs.add(gradient.storage());
        }
        arenas.add(Placement.allocate(backend, "inputs", inputs));
        Random random = new Random(1);
        backend.upload(ids, MemorySegment.ofArray(random.ints(TOKENS, 0, VOCABULARY).toArray()));
        backend.upload(
                targets, MemorySegment.ofArray(random.ints(TOKENS, 0, VOCABULARY).toArray()));
        backend.upload(adapterOfRow, MemorySegment.ofArray(random.ints(TOKENS, -1, 2).toArray()));
        backend.upload(rng, MemorySegment.ofArray(new int[] {1, 2, 3}));
        float[] ones = new float[TOKENS];
        java.util.Arrays.fill(ones, 1);
        backend.upload(scale, MemorySegment.ofArray(ones));
        for (Tensor value : List.of(table, norm, head, weight.weight())) {
            write(value, normal(random, value));
        }
        trained.stream().skip(1).forEach(value -> write(value, normal(random, value)));
    }

    @AfterEach
    void close() {
        arenas.forEach(MemoryArena::close);
        backend.close();
    }

    private static float[] normal(Random random, Tensor like) {
        float[] values = new float[(int) like.elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (0.5 * random.nextGaussian());
        }
        return values;
    }

    private void write(Tensor to, float[] values) {
        backend.upload(to, MemorySegment.ofArray(values));
    }

    private float[] read(Tensor from) {
        float[] values = new float[(int) from.elements()];
        backend.download(MemorySegment.ofArray(values), from);
        return values;
    }

    private double run(Trace trace, Recompute recompute) {
        Tensor h = Embedding.apply(trace, ids, ids, table, Optional.empty());
        Tensor x =
                RmsNorm.apply(trace, "norm", h, Optional.empty(), norm, 1e-6f, weight.rank()).out();
        Tensor y =
                Linear.apply(
                        trace,
                        "w",
                        x,
                        weight.weight(),
                        Optional.empty(),
                        weight.border(),
                        mixed ? Optional.of(adapterOfRow) : Optional.empty(),
                        rng);
        LinearCrossEntropy.apply(trace, loss, y, head, targets, scale, 0, targets.cols(), 4);
        Plan plan = trace.finish(recompute);
        try (MemoryArena arena = backend.allocate("plan", plan.arenaBytes())) {
            arena.segment().fill((byte) 0xFF);
            plan.bind(arena);
            plan.run(backend);
            return read(loss)[0];
        }
    }

    private double train(Recompute recompute) {
        gradients.values().forEach(g -> g.segment().fill((byte) 0));
        return run(Trace.training(DType.F32, gradients), recompute);
    }

    private double evaluate() {
        return run(Trace.inference(DType.F32), Recompute.none());
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void gradientsAreThoseOfTheLoss(boolean twoAdapters) {
        load(0.3f, 0.6f, twoAdapters);
        train(Recompute.none());
        Map<Tensor, float[]> atStart = new HashMap<>();
        gradients.forEach((value, gradient) -> atStart.put(value, read(gradient)));
        for (Tensor value : atStart.keySet()) {
            Random random = new Random(value.cols());
            float[] gradient = atStart.get(value);
            float[] start = read(value);
            for (int direction = 0; direction < 3; direction++) {
                float[] along = normal(random, value);
                double expected = 0;
                for (int i = 0; i < along.length; i++) {
                    expected += (double) along[i] * gradient[i];
                }
                // The border holds s·B, and the gradient is that of B.
                float published =
                        weight.border().orElseThrow().blocks().stream()
                                .filter(block -> block.b() == value)
                                .map(LowRankBorder.Block::scale)
                                .findFirst()
                                .orElse(1f);
                for (int i = 0; i < along.length; i++) {
                    along[i] *= published;
                }
                // The loss is rounded to f32, about 40 · 6e-8, so the step is long and of fourth
                // order.
                double h = 1e-2;
                double near = lossAt(value, start, along, h) - lossAt(value, start, along, -h);
                double far =
                        lossAt(value, start, along, 2 * h) - lossAt(value, start, along, -2 * h);
                double measured = (8 * near - far) / (12 * h);
                write(value, start);
                assertEquals(
                        expected, measured, 2e-3 + 2e-3 * Math.abs(expected), value.describe());
            }
        }
    }

    private double lossAt(Tensor value, float[] start, float[] along, double step) {
        float[] moved = start.clone();
        for (int i = 0; i < moved.length; i++) {
            moved[i] += (float) (step * along[i]);
        }
        write(value, moved);
        return train(Recompute.none());
    }

    @Test
    void evaluationIgnoresDropout() {
        load(0.3f, 0.6f, false);
        double evaluated = evaluate();
        assertNotEquals(train(Recompute.none()), evaluated);
        try (LoraDropoutTestTwin twin = new LoraDropoutTestTwin()) {
            assertEquals(twin.trainedWithoutDropout(), evaluated);
        }
    }

    /** The same layer without dropout, whose values are the same numbers. */
    private static final class LoraDropoutTestTwin implements AutoCloseable {
        private final LoraDropoutTest same = new LoraDropoutTest();

        double trainedWithoutDropout() {
            same.load(0, 0, false);
            return same.train(Recompute.none());
        }

        @Override
        public void close() {
            same.close();
        }
    }

    @Test
    void masksChangeWithSeedAndMicroBatchAndWithNothingElse() {
        load(0.3f, 0.6f, false);
        double first = train(Recompute.none());
        assertEquals(first, train(Recompute.full()));
        for (int[] state : new int[][] {{9, 2, 3}, {1, 9, 3}, {1, 2, 9}}) {
            backend.upload(rng, MemorySegment.ofArray(state));
            assertNotEquals(first, train(Recompute.none()));
        }
        backend.upload(rng, MemorySegment.ofArray(new int[] {1, 2, 3}));
        assertEquals(first, train(Recompute.none()));
    }

    /** Over many masks the low-rank part keeps its size: x is divided by what is kept. */
    @Test
    void theMeanOverMasksIsTheLayerWithoutDropout() {
        int runs = 600;
        load(0.3f, 0.6f, false);
        Trace trace = Trace.training(DType.F32, gradients);
        Tensor h = Embedding.apply(trace, ids, ids, table, Optional.empty());
        Tensor x =
                RmsNorm.apply(trace, "norm", h, Optional.empty(), norm, 1e-6f, weight.rank()).out();
        Tensor y =
                Linear.apply(
                        trace,
                        "w",
                        x,
                        weight.weight(),
                        Optional.empty(),
                        weight.border(),
                        Optional.empty(),
                        rng);
        double[] mean = new double[(int) y.elements()];
        double[] squares = new double[mean.length];
        Plan plan = trace.finish();
        float[] exact;
        try (MemoryArena arena = backend.allocate("plan", plan.arenaBytes())) {
            plan.bind(arena);
            for (int i = 0; i < runs; i++) {
                backend.upload(rng, MemorySegment.ofArray(new int[] {1, 2, i}));
                plan.run(backend);
                float[] values = read(y);
                for (int j = 0; j < mean.length; j++) {
                    mean[j] += values[j] / (double) runs;
                    squares[j] += (double) values[j] * values[j] / runs;
                }
            }
        }
        Trace inference = Trace.inference(DType.F32);
        Tensor h2 = Embedding.apply(inference, ids, ids, table, Optional.empty());
        Tensor x2 =
                RmsNorm.apply(inference, "norm", h2, Optional.empty(), norm, 1e-6f, weight.rank())
                        .out();
        Tensor y2 =
                Linear.apply(
                        inference,
                        "w",
                        x2,
                        weight.weight(),
                        Optional.empty(),
                        weight.border(),
                        Optional.empty(),
                        rng);
        Plan plain = inference.finish();
        try (MemoryArena arena = backend.allocate("plan", plain.arenaBytes())) {
            plain.bind(arena);
            plain.run(backend);
            exact = read(y2);
        }
        float[] difference = new float[mean.length];
        for (int j = 0; j < mean.length; j++) {
            double deviation = Math.sqrt(Math.max(0, squares[j] - mean[j] * mean[j]) / runs);
            difference[j] = (float) ((mean[j] - exact[j]) / Math.max(deviation, 1e-6));
        }
        // Five standard errors of the mean.
        assertArrayEquals(new float[difference.length], difference, 5);
    }
}
