package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.adapter.lora.LoraFactors;
import jlora.runtime.adapter.lora.LoraMerge;
import jlora.runtime.adapter.lora.LoraSpec;
import jlora.runtime.adapter.lora.StagedAdapter;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.io.Json;
import jlora.runtime.model.Model;
import jlora.runtime.model.Models;
import jlora.runtime.nn.Linear;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.HostValues;
import jlora.runtime.weight.ModelWeights;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/** An adapter on a whole model in device memory: merged, taken off, switched. */
final class CudaLoraMergeTest {
    private static final String LLAMA =
            """
            {"model_type": "llama", "vocab_size": 32, "hidden_size": 48, "num_hidden_layers": 1,
             "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 80,
             "max_position_embeddings": 32, "tie_word_embeddings": true, "hidden_act": "silu",
             "rms_norm_eps": 1e-5}
            """;

    private static Emulator emulator;
    private static CudaBackend backend;

    @BeforeAll
    static void open() {
        emulator = Emulator.open();
        backend = emulator.backend();
    }

    @AfterAll
    static void close() {
        if (backend != null) {
            backend.close();
            assertEquals("", emulator.brokenGuards());
        }
    }

    /** The same model and adapter in the memory of any backend. */
    private static final class Fixture implements AutoCloseable {
        private final Backend memory;
        private final Model model;
        private final LoraAdapter adapter;
        private final MemoryArena arena;

        Fixture(Backend memory, DType dtype) {
            this.memory = memory;
            byte[] config = LLAMA.getBytes(StandardCharsets.UTF_8);
            model = Models.create("config.json", Json.parseObject("config.json", 1, config), dtype);
            Map<String, LoraSpec> specs = new LinkedHashMap<>();
            for (Linear linear : model.linears()) {
                linear.parts().forEach(part -> specs.put(part.module(), new LoraSpec(4, 2, 0)));
            }
            adapter = LoraAdapter.attach(model, "first", 0, specs);
            ModelWeights weights = model.weights();
            weights.seal();
            arena = weights.allocate(memory);
            SplittableRandom random = new SplittableRandom(3);
            for (Linear linear : model.linears()) {
                Tensor w = linear.weight().weight();
                HostValues.write(memory, w, normal(random, (int) w.elements(), 0.1), 1);
            }
            adapter.switchTo(memory, factors(adapter, 4, 0.1, 1));
        }

        List<float[]> values() {
            memory.synchronize();
            List<float[]> all = new ArrayList<>();
            for (Linear linear : model.linears()) {
                all.add(HostValues.read(memory, linear.weight().weight()));
            }
            for (LoraAdapter.Module module : adapter.modules()) {
                all.add(HostValues.read(memory, module.border().a()));
                all.add(HostValues.read(memory, module.border().b()));
            }
            return all;
        }

        @Override
        public void close() {
            arena.close();
        }
    }

    private static Map<String, LoraFactors> factors(
            LoraAdapter adapter, int rank, double sigma, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        Map<String, LoraFactors> factors = new LinkedHashMap<>();
        for (LoraAdapter.Module m : adapter.modules()) {
            int in = (int) m.border().a().cols();
            int out = (int) m.border().b().rows();
            float[] a = normal(random, rank * in, sigma);
            factors.put(m.module(), new LoraFactors(rank, 2, a, normal(random, out * rank, sigma)));
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

    private static void assertSame(List<float[]> expected, List<float[]> actual) {
        assertEquals(expected.size(), actual.size());
        for (int i = 0; i < expected.size(); i++) {
            assertArrayEquals(expected.get(i), actual.get(i), "tensor " + i);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void mergedWeightsAreThoseOfTheReferenceAndComeBack(DType dtype) {
        try (Backend host = new ReferenceBackend();
                Fixture expected = new Fixture(host, dtype);
                Fixture f = new Fixture(backend, dtype)) {
            List<float[]> before = f.values();
            assertSame(expected.values(), before);
            LoraMerge reference = LoraMerge.merge(host, expected.model, expected.adapter);
            try (LoraMerge merge = LoraMerge.merge(backend, f.model, f.adapter)) {
                assertSame(expected.values(), f.values());
                assertEquals(reference.cost().corrected(), merge.cost().corrected());
                merge.unmerge();
            }
            reference.close();
            assertSame(before, f.values());
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void stagedAdaptersAreWhatFreshlyLoadedOnesAre(DType dtype) {
        try (Fixture f = new Fixture(backend, dtype)) {
            Map<String, LoraFactors> full = factors(f.adapter, 4, 0.3, 5);
            Map<String, LoraFactors> small = factors(f.adapter, 2, 0.1, 6);
            f.adapter.switchTo(backend, full);
            List<float[]> withFull = f.values();
            f.adapter.switchTo(backend, small);
            List<float[]> withSmall = f.values();
            try (StagedAdapter first = StagedAdapter.stage(backend, f.adapter, full);
                    StagedAdapter second = StagedAdapter.stage(backend, f.adapter, small)) {
                first.use();
                assertSame(withFull, f.values());
                long launches = emulator.launches();
                second.use();
                assertTrue(emulator.launches() - launches <= 2, "one copy, not one per tensor");
                assertSame(withSmall, f.values());
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void refusesNotFiniteValuesInTheLastModule(DType dtype) {
        try (Fixture f = new Fixture(backend, dtype)) {
            LoraAdapter.Module last = f.adapter.modules().getLast();
            Tensor b = last.border().b();
            float[] values = HostValues.read(backend, b);
            values[values.length - 1] = Float.POSITIVE_INFINITY;
            HostValues.write(backend, b, values, 1);
            List<float[]> before = f.values();
            Emulator.Live live = emulator.live();
            JloraException e =
                    assertThrows(
                            JloraException.class,
                            () -> LoraMerge.merge(backend, f.model, f.adapter));
            assertEquals(ExitCode.NUMERICS, e.exitCode());
            assertTrue(e.getMessage().contains("lora_B of " + last.module()), e.getMessage());
            assertSame(before, f.values());
            assertEquals(live, emulator.live());
            assertFalse(f.adapter.merged());
        }
    }
}
