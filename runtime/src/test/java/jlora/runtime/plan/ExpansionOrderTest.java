package jlora.runtime.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.model.TinyModels;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;

/** When plans over sharded weights gather them. */
class ExpansionOrderTest {
    static List<TracedModel.Setup> setups() {
        return List.of(
                new TracedModel.Setup("llama", TinyModels.LLAMA, DType.F32, 1, 0, 3),
                new TracedModel.Setup("gpt2", TinyModels.GPT2, DType.BF16, 2, 0.3f, 2));
    }

    private static List<Plan> plans(TracedModel model) {
        Plan none = model.plan(Recompute.none());
        Plan full = model.plan(Recompute.full());
        long between = (none.arenaBytes() + full.arenaBytes()) / 2;
        return List.of(
                none,
                model.plan(Recompute.auto(none.arenaBytes() - 1)),
                model.plan(Recompute.auto(between)),
                full,
                model.smaller(Recompute.auto(between)));
    }

    /** What a plan gathers, in order. */
    private static List<String> gathers(Plan plan) {
        return plan.steps().stream()
                .filter(step -> step.label().equals("gather"))
                .map(step -> step.writes().getFirst().name())
                .toList();
    }

    /** Layer of a weight by its name; the head comes behind the last. */
    private static int layer(String name, int layers) {
        return name.startsWith("layers.") ? Integer.parseInt(name.split("\\.")[1]) : layers;
    }

    /** Ranks with other batches, or less memory, must meet in every gather. */
    @ParameterizedTest
    @MethodSource("setups")
    void orderDependsOnTheModelAlone(TracedModel.Setup setup) {
        try (TracedModel model = new TracedModel(setup)) {
            Set<List<String>> orders = new HashSet<>();
            Set<String> recomputed = new HashSet<>();
            for (Plan plan : plans(model)) {
                orders.add(gathers(plan));
                recomputed.add(plan.recomputed());
            }
            assertTrue(recomputed.size() >= 3, recomputed::toString);
            assertEquals(1, orders.size());
            List<Integer> layers =
                    orders.iterator().next().stream().map(n -> layer(n, model.layers())).toList();
            List<Integer> expected = new ArrayList<>();
            for (int l = 0; l < model.layers(); l++) {
                expected.addAll(List.of(l, l, l, l));
            }
            if (layers.contains(model.layers())) {
                expected.add(model.layers());
            }
            for (int l = model.layers() - 1; l >= 0; l--) {
                expected.addAll(List.of(l, l, l, l));
            }
            assertEquals(expected, layers);
        }
    }

    @ParameterizedTest
    @MethodSource("setups")
    void aLayerIsUnderWayBeforeTheOneAheadOfItComputes(TracedModel.Setup setup) {
        try (TracedModel model = new TracedModel(setup)) {
            for (Plan plan : plans(model)) {
                List<Step> steps = plan.steps();
                int started = 0;
                int read = 0;
                Set<Integer> done = new HashSet<>();
                List<Integer> order =
                        gathers(plan).stream()
                                .map(n -> layer(n, model.layers()))
                                .distinct()
                                .toList();
                // The forward pass: when a layer is first read, all of the next has been started.
                for (Step step : steps) {
                    if (step.label().equals("gather")) {
                        started++;
                        continue;
                    }
                    for (Tensor t : step.reads()) {
                        int layer = layer(t.name(), model.layers());
                        if (t.storage().role() == Storage.Role.EXPANSION
                                && done.add(layer)
                                && layer + 1 < order.size()) {
                            int upTo = layer + 1;
                            long due =
                                    gathers(plan).stream()
                                            .limit(started)
                                            .filter(n -> layer(n, model.layers()) == upTo)
                                            .count();
                            assertEquals(
                                    upTo == model.layers() ? 1 : 4, due, "before layer " + layer);
                            read++;
                        }
                    }
                }
                assertTrue(read >= model.layers() - 1);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("setups")
    void noMoreThanTwoLayersAreWholeAtATime(TracedModel.Setup setup) {
        try (TracedModel model = new TracedModel(setup)) {
            long all = scratch(model, IntStream.range(0, model.layers()).toArray());
            long two = scratch(model, 0, 1);
            for (Plan plan : plans(model)) {
                long most = plan.largestParts().get(Plan.Part.EXPANDED);
                assertTrue(most <= two, most + " of " + two);
                assertTrue(most < all);
                assertTrue(plan.fetchedBytes() > 0);
            }
        }
    }

    private static long scratch(TracedModel model, int... layers) {
        long bytes = 0;
        for (int layer : layers) {
            for (int i = 0; i < 4; i++) {
                var weight = model.linears().get(4 * layer + i).weight();
                bytes += MemoryArena.align(weight.weight().storage().bytes());
            }
        }
        return bytes;
    }

    @Test
    void readingAnExpansionThatNobodyAskedForIsRefused() {
        Trace trace = Trace.inference(DType.F32);
        Tensor scratch = Tensor.dense("w", Storage.Role.EXPANSION, DType.F32, 4, 8);
        Tensor y = trace.activation("y", 4, 8);
        Step reads = Step.of("reads", List.of(scratch), List.of(y), k -> {});
        assertThrows(IllegalStateException.class, () -> trace.step(reads));
        Step start = Step.of("start", List.of(), List.of(scratch), k -> {});
        Step finish = Step.of("finish", List.of(), List.of(scratch), k -> {});
        trace.expand(
                new Expansion(scratch.storage(), 5, Expansion.Lead.LAYER, start, List.of(finish)));
        trace.step(reads);
        Plan plan = trace.finish();
        assertEquals(
                List.of("start", "finish", "reads"),
                plan.steps().stream().map(Step::label).toList());
        assertEquals(5, plan.fetchedBytes());
    }
}
