package jlora.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Recompute;
import jlora.runtime.plan.Step;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.CheckpointTensor;
import jlora.runtime.weight.FrozenStorage;
import jlora.runtime.weight.FrozenStorage.Form;
import jlora.runtime.weight.HeldCodes;
import jlora.runtime.weight.ModelWeights;
import jlora.trainer.data.Batch;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Training over frozen weights that stay in four bits, or in memory of the host. */
class StoredRunTest {
    /**
     * @param budget bytes for {@link Recompute#auto}; negative for a full recompute
     */
    record Setup(String name, String config, DType dtype, long budget, int adapters, Form form) {
        static List<Setup> all() {
            List<Setup> all = new ArrayList<>();
            for (Form form : List.of(new Form.Plain(), nf4(true), nf4(false), fp4())) {
                all.add(new Setup("llama", TinyRun.LLAMA, DType.F32, 1 << 30, 1, form));
                all.add(new Setup("gpt2", TinyRun.GPT2, DType.F32, -1, 1, form));
                all.add(new Setup("llama", TinyRun.LLAMA, DType.BF16, 100_000, 2, form));
            }
            return all;
        }

        static List<Setup> quantised() {
            return all().stream().filter(s -> s.form instanceof Form.FourBit).toList();
        }

        private static Form nf4(boolean nested) {
            return new Form.FourBit(FourBitMatrix.Type.NF4, nested);
        }

        private static Form fp4() {
            return new Form.FourBit(FourBitMatrix.Type.FP4, true);
        }

        @Override
        public String toString() {
            return name + " " + dtype.torchName() + ", " + form + ", " + adapters + " adapters";
        }

        Recompute recompute() {
            return budget < 0 ? Recompute.full() : Recompute.auto(budget);
        }

        Batch batch(int seed) {
            Batch batch = Batch.of(List.of(TinyRun.row(17, seed), TinyRun.row(23, seed + 1)));
            return adapters > 1 ? batch.withAdapters(new int[] {0, 1}) : batch;
        }

        TinyRun open(Backend backend, FrozenStorage storage) {
            List<TinyRun.AdapterSetup> setups = new ArrayList<>();
            for (int i = 0; i < adapters; i++) {
                setups.add(
                        new TinyRun.AdapterSetup("adapter" + i, 3 + i, 1.5f, 0.3f * i, m -> true));
            }
            return new TinyRun(
                    backend,
                    config,
                    dtype,
                    recompute(),
                    adapters > 1,
                    setups,
                    weights -> weights.store(storage));
        }
    }

    private static Backend backend() {
        return new CpuBackend(new CpuOptions(2, ProductLibrary.VECTOR));
    }

    private record Trained(List<Double> losses, List<AdapterValues> adapters, double evaluation) {}

    private static Trained train(TinyRun run, Setup setup) {
        List<Double> losses = new ArrayList<>();
        for (int step = 0; step < 4; step++) {
            losses.add(run.step(setup.batch(step), setup.batch(step + 9)).loss());
        }
        List<AdapterValues> values = new ArrayList<>();
        for (int i = 0; i < setup.adapters; i++) {
            values.add(run.values(i));
        }
        return new Trained(losses, values, run.evaluate(setup.batch(50)));
    }

    private static void assertSame(Trained expected, Trained actual) {
        assertEquals(expected.losses, actual.losses);
        assertEquals(expected.evaluation, actual.evaluation);
        for (int i = 0; i < expected.adapters.size(); i++) {
            AdapterValues one = expected.adapters.get(i);
            AdapterValues other = actual.adapters.get(i);
            one.modules()
                    .forEach(
                            (module, pair) -> {
                                var same = other.modules().get(module);
                                assertArrayEquals(pair.a(), same.a(), module);
                                assertArrayEquals(pair.b(), same.b(), module);
                            });
        }
    }

    @ParameterizedTest
    @MethodSource("jlora.trainer.loop.StoredRunTest$Setup#all")
    void weightsInHostMemoryTrainToTheSameBits(Setup setup) {
        try (Backend backend = backend();
                TinyRun device = setup.open(backend, new FrozenStorage(setup.form, false));
                TinyRun host = setup.open(backend, new FrozenStorage(setup.form, true))) {
            ModelWeights there = host.blueprint().model().weights();
            assertEquals(0, there.reducedBytes());
            assertTrue(there.hostBytes() > 0);
            assertTrue(host.trainingPlan().fetchedBytes() > there.hostBytes());
            assertSame(train(device, setup), train(host, setup));
        }
    }

    /** Adapters over codes see what they would see over the values that the codes stand for. */
    @ParameterizedTest
    @MethodSource("jlora.trainer.loop.StoredRunTest$Setup#quantised")
    void gradientsAreThoseOverTheExpandedWeights(Setup setup) {
        try (Backend backend = backend();
                TinyRun codes = setup.open(backend, new FrozenStorage(setup.form, false));
                TinyRun whole = setup.open(backend, FrozenStorage.plain())) {
            List<float[]> before = whole.gradients(setup.batch(3));
            int expanded = expandInto(backend, whole, codes);
            assertTrue(expanded > 10);
            List<float[]> expected = whole.gradients(setup.batch(3));
            List<float[]> actual = codes.gradients(setup.batch(3));
            for (int group = 0; group < expected.size(); group++) {
                double scale = norm(expected.get(group));
                assertTrue(scale > 0);
                double off = distance(expected.get(group), actual.get(group));
                assertTrue(off <= 1e-5 * scale, off + " of " + scale);
                // Else the comparison would say nothing: four bits do change gradients.
                assertTrue(distance(before.get(group), actual.get(group)) > 1e-3 * scale);
            }
            assertEquals(whole.evaluate(setup.batch(4)), codes.evaluate(setup.batch(4)), 1e-5);
        }
    }

    private static int expandInto(Backend backend, TinyRun whole, TinyRun codes) {
        List<CheckpointTensor> targets = whole.blueprint().model().weights().checkpoint();
        List<CheckpointTensor> sources = codes.blueprint().model().weights().checkpoint();
        int expanded = 0;
        for (int i = 0; i < targets.size(); i++) {
            if (sources.get(i).held() instanceof HeldCodes held) {
                backend.kernels()
                        .fourBit()
                        .dequantize(targets.get(i).target(), List.of(held.matrix()));
                expanded++;
            }
        }
        return expanded;
    }

    private static double norm(float[] values) {
        return distance(values, new float[values.length]);
    }

    private static double distance(float[] a, float[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += Math.pow((double) a[i] - b[i], 2);
        }
        return Math.sqrt(sum);
    }

    /** Little is expanded at a time, and each value is under way while the one before it works. */
    @Test
    void codesAreExpandedOneAheadOfTheirUse() {
        Setup setup = new Setup("llama", TinyRun.LLAMA, DType.F32, 1 << 30, 1, Setup.nf4(true));
        try (Backend backend = backend();
                TinyRun run = setup.open(backend, new FrozenStorage(setup.form, false))) {
            Plan plan = run.trainingPlan();
            Set<Storage> seen = new HashSet<>();
            Storage waiting = null;
            int ahead = 0;
            for (Step step : plan.steps()) {
                if (step.label().equals("four_bit.dequantize")) {
                    waiting = step.writes().getFirst().storage();
                    continue;
                }
                for (Tensor t : step.reads()) {
                    if (t.storage().role() == Storage.Role.EXPANSION && seen.add(t.storage())) {
                        ahead += waiting == t.storage() ? 0 : 1;
                    }
                }
            }
            // Of the twelve matrices only the first and the last have none ahead of theirs.
            assertTrue(ahead >= 10, ahead + " of " + seen.size());
            long three =
                    seen.stream()
                            .map(s -> MemoryArena.align(s.bytes()))
                            .sorted((a, b) -> Long.compare(b, a))
                            .limit(3)
                            .mapToLong(b -> b)
                            .sum();
            assertTrue(plan.largestParts().get(Plan.Part.EXPANDED) <= three);
        }
    }

    /** FP8 rounds activations too, so a run is near the plain one and not equal to it. */
    @ParameterizedTest
    @ValueSource(strings = {TinyRun.LLAMA, TinyRun.GPT2})
    void fp8TrainsNearlyAsWhatItStandsFor(String config) {
        Form form = new Form.Fp8(Fp8Matrix.Scaling.ROW);
        for (long budget : new long[] {1 << 30, -1}) {
            Setup setup = new Setup("fp8", config, DType.BF16, budget, 1, form);
            try (Backend backend = backend();
                    TinyRun codes = setup.open(backend, new FrozenStorage(form, false));
                    TinyRun plain = setup.open(backend, FrozenStorage.plain())) {
                Trained expected = train(plain, setup);
                Trained actual = train(codes, setup);
                assertTrue(!expected.losses.equals(actual.losses));
                for (int i = 0; i < expected.losses.size(); i++) {
                    double loss = expected.losses.get(i);
                    assertEquals(loss, actual.losses.get(i), 0.05 * loss);
                }
                // Only dX asks for transposes, one at a time and the next; the first layer's input
                // has no gradient.
                List<String> labels =
                        codes.trainingPlan().steps().stream().map(Step::label).toList();
                assertEquals(11, labels.stream().filter("fp8.transpose"::equals).count());
                assertTrue(
                        labels.indexOf("fp8.transpose") > labels.indexOf("linear_cross_entropy"));
                assertFalse(
                        codes.evaluationPlan().steps().stream()
                                .anyMatch(step -> step.label().equals("fp8.transpose")));
                long largest =
                        codes.trainingPlan().steps().stream()
                                .filter(step -> step.label().equals("fp8.transpose"))
                                .mapToLong(s -> s.writes().getFirst().storage().bytes())
                                .max()
                                .orElseThrow();
                assertTrue(
                        codes.trainingPlan().largestParts().get(Plan.Part.EXPANDED)
                                <= 2 * MemoryArena.align(largest));
            }
        }
    }

    @Test
    void fourBitsTakeWhatTheySay() {
        Setup setup = new Setup("llama", TinyRun.LLAMA, DType.BF16, 1 << 30, 1, Setup.nf4(false));
        try (Backend backend = backend();
                TinyRun run = setup.open(backend, new FrozenStorage(setup.form, false))) {
            // A layer: q 32, k 16, v 16 and o of 24 x 32; gate and up 40 x 24, down 24 x 40.
            long bytes = 0;
            for (long elements : new long[] {32 * 24, 16 * 24, 16 * 24, 24 * 32, 960, 960, 960}) {
                long scales = (elements + 63) / 64;
                bytes += MemoryArena.align(elements / 2) + MemoryArena.align(4 * scales);
            }
            assertEquals(3 * bytes, run.blueprint().model().weights().reducedBytes());
        }
    }
}
