package jlora.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.plan.Recompute;
import jlora.runtime.tensor.DType;
import jlora.trainer.data.Batch;
import jlora.trainer.data.Example;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A batch whose rows use different adapters against runs of each adapter alone. Equal up to f32
 * rounding and not to the bit: the border is wider, so products add the same terms, and zeros, in
 * other groups.
 */
class MixedAdaptersTest {
    private static final double TOLERANCE = 2e-5;

    private static Backend backend;

    @BeforeAll
    static void open() {
        backend = new CpuBackend(new CpuOptions(2, ProductLibrary.AUTO));
    }

    @AfterAll
    static void close() {
        backend.close();
    }

    /** Every linear layer. */
    private static TinyRun.AdapterSetup wide(float dropout) {
        return new TinyRun.AdapterSetup("wide", 3, 1.5f, dropout, module -> true);
    }

    /** Leaves most weights to the other adapter alone. */
    private static TinyRun.AdapterSetup narrow(float dropout) {
        return new TinyRun.AdapterSetup(
                "narrow",
                5,
                0.7f,
                dropout,
                module -> module.endsWith("v_proj") || module.endsWith("attn.c_proj"));
    }

    private static TinyRun run(String architecture, TinyRun.AdapterSetup... adapters) {
        return new TinyRun(
                backend,
                architecture.equals("llama") ? TinyRun.LLAMA : TinyRun.GPT2,
                DType.F32,
                Recompute.none(),
                true,
                List.of(adapters));
    }

    private static List<Example> rows(int seed) {
        return IntStream.range(0, 5).mapToObj(i -> TinyRun.row(5 + 3 * i, 100 * seed + i)).toList();
    }

    private static final int[] ADAPTERS = {0, 1, -1, 1, 0};

    private static Batch mixed(int seed) {
        return Batch.of(rows(seed)).withAdapters(ADAPTERS);
    }

    /** The rows of one adapter, which is {@code as} in the model they are for. */
    private static Batch only(int seed, int adapter, int as) {
        List<Example> rows =
                IntStream.range(0, 5)
                        .filter(i -> ADAPTERS[i] == adapter)
                        .mapToObj(rows(seed)::get)
                        .toList();
        int[] adapters = new int[rows.size()];
        Arrays.fill(adapters, as);
        return Batch.of(rows).withAdapters(adapters);
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama", "gpt2"})
    void everyAdapterTrainsAsItWouldAlone(String architecture) {
        try (TinyRun both = run(architecture, wide(0), narrow(0));
                TinyRun first = run(architecture, wide(0));
                TinyRun second = run(architecture, narrow(0))) {
            for (int step = 0; step < 6; step++) {
                int seed = 2 * step;
                TrainEngine.StepResult got = both.step(mixed(seed), mixed(seed + 1));
                TrainEngine.StepResult a = first.step(only(seed, 0, 0), only(seed + 1, 0, 0));
                TrainEngine.StepResult b = second.step(only(seed, 1, 0), only(seed + 1, 1, 0));
                assertEquals(
                        a.loss() + b.loss(),
                        got.loss(),
                        TOLERANCE * got.loss(),
                        "loss, step " + step);
                assertEquals(2, got.gradNorms().length);
                assertEquals(
                        a.gradNorm(),
                        got.gradNorms()[0],
                        1e-4 * a.gradNorm(),
                        "norm, step " + step);
                assertEquals(
                        b.gradNorm(),
                        got.gradNorms()[1],
                        1e-4 * b.gradNorm(),
                        "norm, step " + step);
            }
            assertClose(first.values(0), both.values(0));
            assertClose(second.values(0), both.values(1));
        }
    }

    private static void assertClose(AdapterValues expected, AdapterValues got) {
        assertEquals(expected.modules().keySet(), got.modules().keySet());
        expected.modules()
                .forEach(
                        (module, pair) -> {
                            assertArrayEquals(
                                    pair.a(), got.modules().get(module).a(), 2e-4f, module + " A");
                            assertArrayEquals(
                                    pair.b(), got.modules().get(module).b(), 2e-4f, module + " B");
                        });
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama", "gpt2"})
    void everyRowIsEvaluatedWithItsOwnAdapterAndRowsWithoutOneByTheBaseModel(String architecture) {
        try (TinyRun both = run(architecture, wide(0), narrow(0));
                TinyRun first = run(architecture, wide(0));
                TinyRun second = run(architecture, narrow(0));
                TinyRun base = run(architecture)) {
            double a = first.evaluate(only(1, 0, 0));
            double b = second.evaluate(only(1, 1, 0));
            double none = base.evaluate(only(1, -1, 0));
            assertEquals(a + b + none, both.evaluate(mixed(1)), TOLERANCE * (a + b + none));
            assertEquals(none, both.evaluate(only(1, -1, -1)), TOLERANCE * none);
            assertEquals(
                    none,
                    first.evaluate(only(1, -1, -1)),
                    TOLERANCE * none,
                    "the only adapter is left out too");
            assertNotEquals(none, first.evaluate(only(1, -1, 0)), 0.01 * none);
        }
    }

    /** The weights that only the wide adapter borders used to be masked for nobody. */
    @Test
    void anAdapterThatAloneBordersAWeightLeavesOtherRowsAlone() {
        try (TinyRun both = run("llama", wide(0), narrow(0));
                TinyRun second = run("llama", narrow(0))) {
            double alone = second.evaluate(only(3, 1, 0));
            assertEquals(alone, both.evaluate(only(3, 1, 1)), TOLERANCE * alone);
        }
    }

    /** They used to count in the mean of the first adapter. */
    @Test
    void rowsWithoutAnAdapterDoNotDiluteTheFirstOne() {
        try (TinyRun with = run("llama", wide(0), narrow(0));
                TinyRun without = run("llama", wide(0), narrow(0))) {
            int[] adapters = {0, -1, -1, -1, 0};
            TrainEngine.StepResult a = with.step(Batch.of(rows(1)).withAdapters(adapters));
            TrainEngine.StepResult b = without.step(only(1, 0, 0));
            assertEquals(b.loss(), a.loss(), TOLERANCE * b.loss());
            assertEquals(b.gradNorms()[0], a.gradNorms()[0], 1e-4 * b.gradNorms()[0]);
            assertEquals(0, a.gradNorms()[1]);
        }
    }

    /**
     * Masks belong to a place in the batch, so the batch keeps its shape and only other rows'
     * adapters change.
     */
    @ParameterizedTest
    @ValueSource(strings = {"llama", "gpt2"})
    void withDropoutNoAdapterFeelsWhatOtherRowsUse(String architecture) {
        try (TinyRun both = run(architecture, wide(0.3f), narrow(0.2f))) {
            List<float[]> mixed = both.gradients(mixed(1));
            List<float[]> firstOnly =
                    both.gradients(Batch.of(rows(1)).withAdapters(new int[] {0, -1, -1, -1, 0}));
            List<float[]> secondOnly =
                    both.gradients(Batch.of(rows(1)).withAdapters(new int[] {-1, 1, -1, 1, -1}));
            assertArrayEquals(firstOnly.get(0), mixed.get(0));
            assertArrayEquals(secondOnly.get(1), mixed.get(1));
            assertArrayEquals(new float[mixed.get(1).length], firstOnly.get(1));
            assertFalse(Arrays.equals(new float[mixed.get(0).length], mixed.get(0)));
        }
    }

    @Test
    void aPlanForOneAdapterRefusesABatchThatMixes() {
        try (TinyRun single =
                new TinyRun(
                        backend,
                        TinyRun.LLAMA,
                        DType.F32,
                        Recompute.none(),
                        false,
                        List.of(wide(0), narrow(0)))) {
            assertThrows(IllegalArgumentException.class, () -> single.evaluate(mixed(1)));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"F32", "BF16"})
    void switchingAdaptersEqualsFreshSessionsToTheBit(String dtype) {
        List<Double> fresh = new ArrayList<>();
        for (String name : List.of("red", "blue")) {
            try (TinyRun run = single(DType.valueOf(dtype), name)) {
                fresh.add(run.evaluate(Batch.of(rows(1))));
            }
        }
        assertNotEquals(fresh.get(0), fresh.get(1));
        try (TinyRun run = single(DType.valueOf(dtype), "green")) {
            for (int turn = 0; turn < 4; turn++) {
                String name = turn % 2 == 0 ? "red" : "blue";
                run.session().setAdapter(run.adapter(0), TinyRun.values(run.adapter(0), name));
                assertEquals(fresh.get(turn % 2), run.evaluate(Batch.of(rows(1))));
            }
        }
    }

    private static TinyRun single(DType dtype, String name) {
        return new TinyRun(
                backend,
                TinyRun.LLAMA,
                dtype,
                Recompute.none(),
                false,
                List.of(new TinyRun.AdapterSetup(name, 3, 1.5f, 0, module -> true)));
    }
}
