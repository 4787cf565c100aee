package jlora.runtime.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.nn.StepInputs;
import jlora.runtime.op.Attention;
import jlora.runtime.op.Linear;
import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.RandomInit;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** Generation with a cache against the logits of the whole sequence computed at once. */
class DecoderTest {
    private static final int NEW = 6;
    private static final double TOLERANCE = 2e-4;

    private static Backend backend;

    @BeforeAll
    static void open() {
        backend = new CpuBackend(new CpuOptions(2, ProductLibrary.AUTO));
    }

    @AfterAll
    static void close() {
        backend.close();
    }

    /** A loaded model with so many adapters. */
    private record Loaded(Model model, MemoryArena weights) implements AutoCloseable {
        static Loaded of(String architecture, int adapters) {
            String config =
                    switch (architecture) {
                        case "llama" -> TinyModels.LLAMA;
                        case "mistral" -> TinyModels.MISTRAL;
                        case "gpt2 by layer" ->
                                TinyModels.GPT2.replace(
                                        "\"n_layer\"",
                                        "\"scale_attn_by_inverse_layer_idx\": true, \"n_layer\"");
                        default -> TinyModels.GPT2;
                    };
            Model model = TinyModels.create(config, DType.F32);
            for (int i = 0; i < adapters; i++) {
                LoraAdapter.attach(
                        model, "adapter" + i, i, TinyModels.allLinear(model, 3 + i, 1.5f, 0));
            }
            model.weights().seal();
            MemoryArena weights = model.weights().allocate(backend);
            model.fillConstants(backend);
            RandomInit.fill(backend, model.weights(), 0.2, 1);
            TinyModels.fillBorders(backend, model, 0.2, 2);
            return new Loaded(model, weights);
        }

        /** Logits after every token of a sequence, without a cache. */
        float[][] logits(int[] ids, int adapter) {
            StepInputs in = StepInputs.of(ids.length, 1, true, false);
            Trace trace = Trace.inference(DType.F32);
            Tensor hidden =
                    model.hidden(
                            trace,
                            in,
                            (t, layer, qkv, shape, pad) ->
                                    Attention.apply(
                                            t,
                                            qkv,
                                            in.cuSeqlens(),
                                            in.keyMask(),
                                            shape,
                                            ids.length,
                                            pad));
            Tensor logits = Linear.logits(trace, hidden, model.head(trace));
            Plan plan = trace.finish();
            MemoryArena inputs = in.allocate(backend);
            try (MemoryArena arena = backend.allocate("plan", plan.arenaBytes())) {
                plan.bind(arena);
                int[] adapters = new int[ids.length];
                Arrays.fill(adapters, adapter);
                backend.upload(in.ids(), MemorySegment.ofArray(ids));
                backend.upload(
                        in.positions(),
                        MemorySegment.ofArray(IntStream.range(0, ids.length).toArray()));
                backend.upload(in.adapterOfRow(), MemorySegment.ofArray(adapters));
                backend.upload(in.cuSeqlens(), MemorySegment.ofArray(new int[] {0, ids.length}));
                plan.run(backend);
                float[][] rows = new float[ids.length][(int) logits.cols()];
                for (int t = 0; t < ids.length; t++) {
                    backend.download(MemorySegment.ofArray(rows[t]), logits.rows(t, 1));
                }
                return rows;
            } finally {
                inputs.close();
            }
        }

        @Override
        public void close() {
            weights.close();
        }
    }

    private static int[] prompt(int length) {
        return new Random(length).ints(length, 0, 61).toArray();
    }

    private static int[] plus(int[] ids, int next) {
        int[] longer = Arrays.copyOf(ids, ids.length + 1);
        longer[ids.length] = next;
        return longer;
    }

    static Stream<Arguments> prompts() {
        List<Arguments> all = new ArrayList<>();
        for (String architecture : List.of("llama", "mistral", "gpt2", "gpt2 by layer")) {
            for (int length : new int[] {1, 2, 15, 16, 17, 255, 256, 257, 300}) {
                all.add(Arguments.of(architecture, length));
            }
        }
        return all.stream();
    }

    @ParameterizedTest
    @MethodSource("prompts")
    void greedyGenerationEqualsTheWholeSequence(String architecture, int length) {
        try (Loaded loaded = Loaded.of(architecture, 1);
                Decoder decoder = new Decoder(backend, loaded.model(), length + NEW, 0)) {
            Sampler greedy = new Sampler(0, 1, 0);
            int[] ids = prompt(length);
            List<float[]> cached = new ArrayList<>();
            float[] logits = decoder.append(ids);
            for (int i = 0; i < NEW; i++) {
                cached.add(logits);
                int next = greedy.choose(logits);
                ids = plus(ids, next);
                logits = decoder.append(next);
            }
            cached.add(logits);
            assertEquals(length + NEW, decoder.length());
            float[][] whole = loaded.logits(ids, 0);
            for (int i = 0; i <= NEW; i++) {
                float[] expected = whole[length - 1 + i];
                assertArrayEquals(
                        expected, cached.get(i), (float) TOLERANCE, "after " + i + " new tokens");
                if (i < NEW) {
                    assertEquals(greedy.choose(expected), ids[length + i], "token " + i);
                }
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama", "gpt2"})
    void appendsInPiecesOfAnySize(String architecture) {
        try (Loaded loaded = Loaded.of(architecture, 1);
                Decoder decoder = new Decoder(backend, loaded.model(), 64, 0)) {
            int[] ids = prompt(50);
            float[][] whole = loaded.logits(ids, 0);
            int at = 0;
            for (int piece : new int[] {3, 1, 16, 17, 2, 11}) {
                float[] logits = decoder.append(Arrays.copyOfRange(ids, at, at + piece));
                at += piece;
                assertArrayEquals(whole[at - 1], logits, (float) TOLERANCE, "after " + at);
            }
            decoder.reset();
            assertArrayEquals(whole[6], decoder.append(Arrays.copyOf(ids, 7)), (float) TOLERANCE);
        }
    }

    /** -1 used to run the model's only adapter. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void usesTheAdapterAskedForOrNone(int adapters) {
        try (Loaded loaded = Loaded.of("llama", adapters);
                Loaded base = Loaded.of("llama", 0)) {
            int[] ids = prompt(20);
            List<Float> first = new ArrayList<>();
            for (int adapter = -1; adapter < adapters; adapter++) {
                try (Decoder decoder = new Decoder(backend, loaded.model(), 32, adapter)) {
                    float[] logits = decoder.append(ids);
                    assertArrayEquals(loaded.logits(ids, adapter)[19], logits, (float) TOLERANCE);
                    first.add(logits[0]);
                }
            }
            assertEquals(
                    base.logits(ids, -1)[19][0], first.getFirst(), TOLERANCE, "without an adapter");
            assertEquals(
                    first.size(), first.stream().distinct().count(), "all different: " + first);
        }
    }

    @Test
    void refusesMoreTokensThanItsCapacity() {
        try (Loaded loaded = Loaded.of("llama", 0);
                Decoder decoder = new Decoder(backend, loaded.model(), 5, 0)) {
            decoder.append(1, 2, 3);
            assertThrows(IllegalArgumentException.class, () -> decoder.append(1, 2, 3));
            assertEquals(3, decoder.length());
            assertThrows(
                    IllegalArgumentException.class,
                    () -> new Decoder(backend, loaded.model(), 513, 0));
        }
    }

    @Test
    void aWindowMatters() {
        try (Loaded window = Loaded.of("mistral", 0)) {
            int[] ids = prompt(40);
            int[] other = ids.clone();
            other[0] = (ids[0] + 1) % 61;
            // Three layers of 11 tokens each reach back 30 tokens and no further.
            assertArrayEquals(window.logits(ids, 0)[39], window.logits(other, 0)[39]);
            assertNotEquals(window.logits(ids, 0)[20][0], window.logits(other, 0)[20][0]);
        }
    }

    @Test
    void sampledTokensFollowTheLogits() {
        try (Loaded loaded = Loaded.of("gpt2", 0);
                Decoder decoder = new Decoder(backend, loaded.model(), 32, 0)) {
            float[] logits = decoder.append(prompt(9));
            Sampler sampler = new Sampler(1, 0.5, 4);
            float[] sorted = logits.clone();
            Arrays.sort(sorted);
            for (int i = 0; i < 50; i++) {
                assertTrue(logits[sampler.choose(logits)] >= sorted[30]);
            }
        }
    }
}
