package jlora.runtime.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.io.HuggingFaceFolder;
import jlora.runtime.model.Model;
import jlora.runtime.model.Models;
import jlora.runtime.tensor.DType;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.opentest4j.AssertionFailedError;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import java.util.zip.CRC32;

class PlanLayoutTest {
    private static final Path GEOMETRIES = Path.of("../configs/geometries");

    /**
     * Every way to recompute; the budgets of AUTO lie between none and full, so that it has to
     * choose.
     */
    private static List<Plan> plans(Function<Recompute, Plan> planner, int... percents) {
        Plan none = planner.apply(Recompute.none());
        Plan full = planner.apply(Recompute.full());
        List<Plan> plans = new ArrayList<>(List.of(none, full));
        for (int percent : percents) {
            long budget =
                    full.arenaBytes() + (none.arenaBytes() - full.arenaBytes()) * percent / 100;
            plans.add(planner.apply(Recompute.auto(budget)));
        }
        return plans;
    }

    static List<TracedModel.Setup> setups() {
        return TracedModel.Setup.all();
    }

    @ParameterizedTest
    @MethodSource("setups")
    void everyReadFindsWhatItsStorageWroteLast(TracedModel.Setup setup) {
        try (TracedModel model = new TracedModel(setup)) {
            for (Plan plan : plans(model::plan, 5, 30, 60, 90)) {
                assertTrue(ArenaUse.check(plan) > 10, "bytes are hardly shared");
            }
        }
    }

    private static Plan large(String geometry, Recompute recompute) {
        Path folder = GEOMETRIES.resolve(geometry);
        Model model = Models.create(geometry, HuggingFaceFolder.readConfig(folder), DType.BF16);
        return TracedModel.plan(model, 8, 1024, recompute);
    }

    @ParameterizedTest
    @org.junit.jupiter.params.provider.ValueSource(
            strings = {
                "llama-0.5b",
                "llama-3.2-1b",
                "llama-3.1-8b",
                "llama-3.1-70b",
                "gpt2-124m",
                "gpt3-175b"
            })
    void largeModelsArePackedWithoutConflictAndNearTheLowerBound(String geometry) {
        for (Plan plan : plans(recompute -> large(geometry, recompute), 30)) {
            ArenaUse.check(plan);
            double gap = (double) plan.arenaBytes() / plan.lowerBound() - 1;
            assertTrue(
                    gap <= 0.02,
                    () ->
                            String.format(
                                    Locale.ROOT,
                                    "%s: gap %.2f%%, %s",
                                    geometry,
                                    100 * gap,
                                    plan.recomputed()));
        }
    }

    /**
     * Attention writes its result and the statistics that its backward reads: both come of one
     * repetition.
     */
    @Test
    void attentionIsNotRecomputedOncePerOutput() {
        for (TracedModel.Setup setup : setups()) {
            try (TracedModel model = new TracedModel(setup)) {
                List<String> labels =
                        model.plan(Recompute.full()).steps().stream().map(Step::label).toList();
                for (String label :
                        List.of("attention", "rms_norm", "layer_norm", "swiglu", "gelu", "rope")) {
                    long once =
                            model.plan(Recompute.none()).steps().stream()
                                    .filter(s -> s.label().equals(label))
                                    .count();
                    long now = labels.stream().filter(label::equals).count();
                    assertTrue(
                            now <= 2 * once,
                            () -> setup + ": " + label + " " + now + " times instead of " + once);
                }
            }
        }
    }

    @Test
    void theCheckFindsALayoutThatReusesBytesTooEarly() {
        Trace trace = Trace.inference(DType.F32);
        var a = trace.activation("a", 4, 64);
        var b = trace.activation("b", 4, 64);
        var c = trace.activation("c", 4, 64);
        trace.step(Step.of("makes a", List.of(), List.of(a), x -> {}));
        trace.step(Step.of("makes b", List.of(), List.of(b), x -> {}));
        trace.step(Step.of("makes c", List.of(a, b), List.of(c), x -> {}));
        Plan plan = trace.finish();
        ArenaUse.check(plan);
        // The same steps with b in a's place.
        Schedule schedule =
                Schedule.of(
                        new TracedPass(
                                plan.steps().stream()
                                        .map(s -> new TracedStep(s, TracedStep.Phase.FORWARD, -1))
                                        .toList(),
                                List.of()),
                        java.util.Set.of());
        var layout =
                new MemoryPlanner.Layout(
                        java.util.Map.of(a.storage(), 0L, b.storage(), 0L, c.storage(), 1024L),
                        2048,
                        2048,
                        0);
        Plan broken = new Plan(schedule, layout, "none");
        assertThrows(AssertionFailedError.class, () -> ArenaUse.check(broken));
    }

    /**
     * Steps and offsets of one plan; a program of its own, so that identity hashes and heap differ.
     */
    static final class Fingerprint {
        public static void main(String[] arguments) {
            System.out.println(fingerprint());
        }

        static long fingerprint() {
            CRC32 crc = new CRC32();
            for (Recompute recompute :
                    List.of(Recompute.none(), Recompute.auto(400L << 20), Recompute.full())) {
                Plan plan = large("llama-0.5b", recompute);
                ArenaUse.storages(plan)
                        .forEach(
                                s ->
                                        crc.update(
                                                (s.name() + plan.offset(s))
                                                        .getBytes(StandardCharsets.UTF_8)));
                plan.steps().forEach(s -> crc.update(s.label().getBytes(StandardCharsets.UTF_8)));
            }
            return crc.getValue();
        }
    }

    @Test
    void anotherJvmLaysTheSamePlanOut() throws IOException, InterruptedException {
        Process other =
                new ProcessBuilder(
                                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                                "-XX:+UnlockExperimentalVMOptions",
                                "-XX:hashCode=0",
                                "-XX:TieredStopAtLevel=1",
                                "-cp",
                                System.getProperty("java.class.path"),
                                Fingerprint.class.getName())
                        .redirectErrorStream(true)
                        .start();
        String output =
                new String(other.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        assertEquals(0, other.waitFor(), output);
        assertEquals(Long.toString(Fingerprint.fingerprint()), output);
    }
}
