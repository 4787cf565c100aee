package jlora.runtime.adapter.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.io.Json;
import jlora.runtime.kernel.Corrections;
import jlora.runtime.model.Decoder;
import jlora.runtime.model.Model;
import jlora.runtime.model.Models;
import jlora.runtime.nn.Linear;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.HostValues;
import jlora.runtime.weight.RandomInit;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/** Adapters merged into whole models, taken off, switched. */
class LoraMergeTest {
    private static final Backend CPU = new CpuBackend(new CpuOptions(2, ProductLibrary.VECTOR));
    private static final int[] PROMPT = {3, 1, 4, 1, 5};
    private static final String LLAMA =
            """
            {"model_type": "llama", "vocab_size": 96, "hidden_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 80,
             "max_position_embeddings": 32, "tie_word_embeddings": true, "hidden_act": "silu",
             "rms_norm_eps": 1e-5}
            """;
    private static final String GPT2 =
            """
            {"model_type": "gpt2", "vocab_size": 96, "n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 32}
            """;

    @AfterAll
    static void close() {
        CPU.close();
    }

    /**
     * A random model with two adapters on it: a full one of rank 4 and one of rank 3 on two
     * modules.
     */
    private static final class Fixture implements AutoCloseable {
        private final Model model;
        private final LoraAdapter adapter;
        private final LoraAdapter other;
        private final MemoryArena memory;

        Fixture(String config, DType dtype, boolean withOther) {
            model =
                    Models.create(
                            "config.json",
                            Json.parseObject(
                                    "config.json", 1, config.getBytes(StandardCharsets.UTF_8)),
                            dtype);
            Map<String, LoraSpec> specs = new LinkedHashMap<>();
            for (Linear linear : model.linears()) {
                linear.parts().forEach(part -> specs.put(part.module(), new LoraSpec(4, 2, 0)));
            }
            adapter = LoraAdapter.attach(model, "first", 0, specs);
            Map<String, LoraSpec> few = new LinkedHashMap<>();
            specs.keySet().stream().limit(2).forEach(m -> few.put(m, new LoraSpec(3, 0.5f, 0)));
            other = withOther ? LoraAdapter.attach(model, "second", 1, few) : null;
            model.weights().seal();
            memory = model.weights().allocate(CPU);
            model.fillConstants(CPU);
            RandomInit.fill(CPU, model.weights(), 0.2, 1);
        }

        byte[] bytes() {
            return memory.segment().toArray(ValueLayout.JAVA_BYTE);
        }

        float[] logits() {
            try (Decoder decoder = new Decoder(CPU, model, 16, 0)) {
                return decoder.append(PROMPT).clone();
            }
        }

        @Override
        public void close() {
            memory.close();
        }
    }

    private static Map<String, LoraFactors> factors(
            LoraAdapter adapter, int rank, float scale, double sigma, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        Map<String, LoraFactors> factors = new LinkedHashMap<>();
        for (LoraAdapter.Module m : adapter.modules()) {
            int in = (int) m.border().a().cols();
            int out = (int) m.border().b().rows();
            factors.put(
                    m.module(),
                    new LoraFactors(
                            rank,
                            scale,
                            normal(random, rank * in, sigma),
                            normal(random, out * rank, sigma)));
        }
        return factors;
    }

    private static float[] normal(SplittableRandom random, int count, double sigma) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) (sigma * random.nextGaussian());
        }
        return values;
    }

    @ParameterizedTest
    @CsvSource({"LLAMA, F32, 1e-4", "GPT2, F32, 1e-4", "LLAMA, BF16, 0.08", "GPT2, BF16, 0.08"})
    void mergedModelAnswersAsTheBorderedOneAndComesBackToTheBit(
            String config, DType dtype, double tolerance) {
        try (Fixture f = new Fixture(config.equals("LLAMA") ? LLAMA : GPT2, dtype, false)) {
            float[] base = f.logits();
            f.adapter.switchTo(CPU, factors(f.adapter, 4, 2, 0.1, 1));
            byte[] before = f.bytes();
            float[] bordered = f.logits();
            try (LoraMerge merge = LoraMerge.merge(CPU, f.model, f.adapter)) {
                assertFalse(Arrays.equals(before, f.bytes()));
                float[] merged = f.logits();
                double scale = distance(bordered, new float[bordered.length]);
                assertTrue(
                        distance(bordered, merged) <= tolerance * scale,
                        distance(bordered, merged) + " of " + scale);
                assertTrue(distance(bordered, base) > 0.3 * scale, "the adapter matters");
                merge.unmerge();
            }
            assertArrayEquals(before, f.bytes());
            assertArrayEquals(bordered, f.logits());
        }
    }

    private static double distance(float[] a, float[] b) {
        double largest = 0;
        for (int i = 0; i < a.length; i++) {
            largest = Math.max(largest, Math.abs(a[i] - b[i]));
        }
        return largest;
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void alternatingAdaptersLeaveEveryBit(DType dtype) {
        try (Fixture f = new Fixture(LLAMA, dtype, true)) {
            List<byte[]> weights = weights(f.model);
            for (int cycle = 0; cycle < 60; cycle++) {
                LoraAdapter adapter = cycle % 2 == 0 ? f.adapter : f.other;
                double sigma = List.of(0.01, 1e15, 1e-20, 0.3, 0.0).get(cycle % 5);
                adapter.switchTo(CPU, factors(adapter, 3, 0.7f, sigma, cycle));
                try (LoraMerge merge = LoraMerge.merge(CPU, f.model, adapter)) {
                    merge.unmerge();
                }
                List<byte[]> after = weights(f.model);
                for (int i = 0; i < weights.size(); i++) {
                    assertArrayEquals(weights.get(i), after.get(i), "cycle " + cycle);
                }
            }
        }
    }

    private static List<byte[]> weights(Model model) {
        List<byte[]> all = new ArrayList<>();
        for (Linear linear : model.linears()) {
            Tensor w = linear.weight().weight();
            for (long r = 0; r < w.rows(); r++) {
                long bytes = w.cols() * w.dtype().bytes();
                all.add(w.segment().asSlice(w.byteOffset(r), bytes).toArray(ValueLayout.JAVA_BYTE));
            }
        }
        return all;
    }

    @Test
    void costCountsEveryMergedWeightOnce() {
        try (Fixture f = new Fixture(LLAMA, DType.BF16, false)) {
            f.adapter.switchTo(CPU, factors(f.adapter, 4, 2, 0.02, 1));
            try (LoraMerge merge = LoraMerge.merge(CPU, f.model, f.adapter)) {
                MergeCost cost = merge.cost();
                long weights =
                        f.model.linears().stream()
                                .mapToLong(l -> l.weight().weight().elements())
                                .sum();
                assertEquals(weights, cost.weights());
                assertEquals(2 * weights, cost.weightBytes());
                assertTrue(
                        cost.correctedShare() > 0 && cost.correctedShare() < 0.2, cost.toString());
                assertEquals(
                        f.adapter.modules().size(),
                        cost.matrices().values().stream().mapToInt(n -> n).sum());
                assertTrue(cost.matrices().containsKey(Corrections.Kind.SPARSE), cost.toString());
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"lora_A, NaN", "lora_B, Infinity", "the weight, -Infinity"})
    void refusesNotFiniteValuesInTheLastModuleAndTouchesNothing(String where, float value) {
        try (Fixture f = new Fixture(LLAMA, DType.F32, false)) {
            f.adapter.switchTo(CPU, factors(f.adapter, 4, 2, 0.1, 1));
            LoraAdapter.Module last = f.adapter.modules().getLast();
            Tensor bad =
                    switch (where) {
                        case "lora_A" -> last.border().a();
                        case "lora_B" -> last.border().b();
                        default -> last.weight();
                    };
            float[] values = HostValues.read(CPU, bad);
            values[values.length - 1] = value;
            HostValues.write(CPU, bad, values, 1);
            byte[] before = f.bytes();
            JloraException e =
                    assertThrows(
                            JloraException.class, () -> LoraMerge.merge(CPU, f.model, f.adapter));
            assertEquals(ExitCode.NUMERICS, e.exitCode());
            assertTrue(e.getMessage().contains(where + " of " + last.module()), e.getMessage());
            assertArrayEquals(before, f.bytes());
            assertFalse(f.adapter.merged());
            f.adapter.requireUnmerged("switched");
        }
    }

    @Test
    void mergedAdapterCannotBeSwitchedMergedAgainOrJoined() {
        try (Fixture f = new Fixture(LLAMA, DType.F32, true)) {
            Map<String, LoraFactors> values = factors(f.adapter, 4, 2, 0.1, 1);
            f.adapter.switchTo(CPU, values);
            f.other.switchTo(CPU, factors(f.other, 3, 1, 0.1, 2));
            try (LoraMerge merge = LoraMerge.merge(CPU, f.model, f.adapter)) {
                byte[] merged = f.bytes();
                for (Runnable refused :
                        List.<Runnable>of(
                                () -> f.adapter.switchTo(CPU, values),
                                () -> f.adapter.requireUnmerged("trained"),
                                () -> LoraMerge.merge(CPU, f.model, f.adapter),
                                () -> LoraMerge.merge(CPU, f.model, f.other))) {
                    String message =
                            assertThrows(IllegalStateException.class, refused::run).getMessage();
                    assertTrue(message.contains("adapter '"), message);
                }
                assertArrayEquals(merged, f.bytes());
                merge.unmerge();
                assertThrows(IllegalStateException.class, merge::unmerge);
            }
            LoraMerge.merge(CPU, f.model, f.other).close();
            assertTrue(f.other.merged(), "closing keeps the merge");
        }
    }

    @Test
    void aBitFlippedWhileMergedIsNoticed() {
        try (Fixture f = new Fixture(LLAMA, DType.BF16, false)) {
            f.adapter.switchTo(CPU, factors(f.adapter, 4, 2, 0.02, 1));
            LoraMerge merge = LoraMerge.merge(CPU, f.model, f.adapter);
            Tensor w = f.model.linears().get(3).weight().weight();
            long at = w.byteOffset(5) + 7;
            byte was = w.segment().get(ValueLayout.JAVA_BYTE, at);
            w.segment().set(ValueLayout.JAVA_BYTE, at, (byte) (was ^ 0x20));
            String message = assertThrows(IllegalStateException.class, merge::unmerge).getMessage();
            assertTrue(message.contains(w.name()), message);
        }
    }

    @Test
    void aBorderChangedWhileMergedIsNoticedBeforeAnythingIsTouched() {
        try (Fixture f = new Fixture(LLAMA, DType.F32, false)) {
            f.adapter.switchTo(CPU, factors(f.adapter, 4, 2, 0.1, 1));
            byte[] before = f.bytes();
            LoraMerge merge = LoraMerge.merge(CPU, f.model, f.adapter);
            Tensor a = f.adapter.modules().get(1).border().a();
            float[] values = HostValues.read(CPU, a);
            float was = values[0];
            values[0] += 1;
            HostValues.write(CPU, a, values, 1);
            byte[] changed = f.bytes();
            assertThrows(IllegalStateException.class, merge::unmerge);
            assertArrayEquals(changed, f.bytes());
            values[0] = was;
            HostValues.write(CPU, a, values, 1);
            merge.unmerge();
            assertArrayEquals(before, f.bytes());
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void switchingWritesTheOtherAdapterAndNoWeight(DType dtype) {
        try (Fixture f = new Fixture(LLAMA, dtype, false)) {
            List<byte[]> weights = weights(f.model);
            Map<String, LoraFactors> small = factors(f.adapter, 2, 0.5f, 0.1, 9);
            List<String> modules = List.copyOf(small.keySet());
            small.remove(modules.getFirst());
            f.adapter.switchTo(CPU, factors(f.adapter, 4, 2, 0.3, 1));
            f.adapter.switchTo(CPU, small);
            for (LoraAdapter.Module m : f.adapter.modules()) {
                LoraFactors expected = small.get(m.module());
                float[] a = HostValues.read(CPU, m.border().a());
                float[] b = HostValues.read(CPU, m.border().b());
                int in = (int) m.border().a().cols();
                for (int i = 0; i < a.length; i++) {
                    float want = expected == null || i >= 2 * in ? 0 : expected.a()[i];
                    assertEquals(rounded(want, dtype), a[i]);
                }
                for (int i = 0; i < b.length; i++) {
                    float want =
                            expected == null || i % 4 >= 2
                                    ? 0
                                    : 0.5f * expected.b()[i / 4 * 2 + i % 4];
                    assertEquals(rounded(want, dtype), b[i]);
                }
            }
            List<byte[]> after = weights(f.model);
            for (int i = 0; i < weights.size(); i++) {
                assertArrayEquals(weights.get(i), after.get(i));
            }
        }
    }

    private static float rounded(float value, DType dtype) {
        return dtype == DType.F32
                ? value
                : jlora.runtime.tensor.Bf16.toFloat(jlora.runtime.tensor.Bf16.fromFloat(value));
    }

    @Test
    void switchingRefusesWhatDoesNotFitBeforeItWrites() {
        try (Fixture f = new Fixture(LLAMA, DType.F32, false)) {
            f.adapter.switchTo(CPU, factors(f.adapter, 4, 2, 0.1, 1));
            byte[] before = f.bytes();
            Map<String, LoraFactors> wrong = new HashMap<>(factors(f.adapter, 4, 2, 0.5, 2));
            String last = f.adapter.modules().getLast().module();
            wrong.put(last, new LoraFactors(4, 2, new float[3], new float[3]));
            assertThrows(IllegalArgumentException.class, () -> f.adapter.switchTo(CPU, wrong));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> f.adapter.switchTo(CPU, factors(f.adapter, 5, 2, 0.5, 2)));
            wrong.remove(last);
            wrong.put("no.such.module", new LoraFactors(1, 1, new float[1], new float[1]));
            assertThrows(IllegalArgumentException.class, () -> f.adapter.switchTo(CPU, wrong));
            assertArrayEquals(before, f.bytes());
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void stagedAdaptersAreWhatFreshlyLoadedOnesAre(DType dtype) {
        try (Fixture f = new Fixture(LLAMA, dtype, true)) {
            Map<String, LoraFactors> full = factors(f.adapter, 4, 2, 0.3, 1);
            Map<String, LoraFactors> small = factors(f.adapter, 2, 0.7f, 0.1, 9);
            small.remove(List.copyOf(small.keySet()).getLast());
            f.other.switchTo(CPU, factors(f.other, 3, 1, 0.1, 2));
            f.adapter.switchTo(CPU, full);
            byte[] withFull = f.bytes();
            f.adapter.switchTo(CPU, small);
            byte[] withSmall = f.bytes();
            try (StagedAdapter first = StagedAdapter.stage(CPU, f.adapter, full);
                    StagedAdapter second = StagedAdapter.stage(CPU, f.adapter, small)) {
                assertArrayEquals(withSmall, f.bytes(), "staging changes nothing");
                for (int cycle = 0; cycle < 3; cycle++) {
                    first.use();
                    assertArrayEquals(withFull, f.bytes());
                    second.use();
                    assertArrayEquals(withSmall, f.bytes());
                }
                try (LoraMerge merge = LoraMerge.merge(CPU, f.model, f.adapter)) {
                    assertThrows(IllegalStateException.class, first::use);
                    merge.unmerge();
                }
            }
            assertArrayEquals(withSmall, f.bytes());
            small.put("no.such.module", new LoraFactors(1, 1, new float[1], new float[1]));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> StagedAdapter.stage(CPU, f.adapter, small));
        }
    }
}
