package jlora.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.plan.Recompute;
import jlora.runtime.tensor.DType;
import jlora.trainer.data.Batch;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.util.ArrayList;
import java.util.List;

/** gradient_checkpointing changes memory and arithmetic, and no bit of a run. */
class RecomputeRunTest {
    record Setup(String name, String config, DType dtype, float dropout, int adapters) {
        @Override
        public String toString() {
            return name
                    + " "
                    + dtype.torchName()
                    + ", dropout "
                    + dropout
                    + ", "
                    + adapters
                    + " adapters";
        }
    }

    /** All that three steps of two micro-batches leave behind, as bits. */
    private record Trace(List<Integer> bits, long arenaBytes, long recomputedFlops) {}

    private static Backend backend;

    @BeforeAll
    static void open() {
        backend = new CpuBackend(new CpuOptions(2, ProductLibrary.AUTO));
    }

    @AfterAll
    static void close() {
        backend.close();
    }

    static List<Setup> setups() {
        List<Setup> setups = new ArrayList<>();
        for (DType dtype : List.of(DType.F32, DType.BF16)) {
            for (int adapters = 1; adapters <= 2; adapters++) {
                for (float dropout : new float[] {0, 0.25f}) {
                    setups.add(new Setup("llama", TinyRun.LLAMA, dtype, dropout, adapters));
                    setups.add(new Setup("gpt2", TinyRun.GPT2, dtype, dropout, adapters));
                }
            }
        }
        return setups;
    }

    @ParameterizedTest
    @MethodSource("setups")
    void changesNoBitAndShrinksTheArena(Setup setup) {
        Trace none = run(setup, Recompute.none());
        Trace full = run(setup, Recompute.full());
        assertTrue(full.arenaBytes < none.arenaBytes, full.arenaBytes + " of " + none.arenaBytes);
        assertEquals(0, none.recomputedFlops);
        assertArrayEquals(none.bits.toArray(), full.bits.toArray());
        for (int percent : new int[] {10, 50, 95}) {
            long budget = full.arenaBytes + (none.arenaBytes - full.arenaBytes) * percent / 100;
            Trace auto = run(setup, Recompute.auto(budget));
            assertTrue(auto.arenaBytes <= budget, auto.arenaBytes + " in " + budget);
            assertTrue(auto.recomputedFlops > 0 && auto.recomputedFlops <= full.recomputedFlops);
            assertArrayEquals(none.bits.toArray(), auto.bits.toArray());
        }
    }

    private static Trace run(Setup setup, Recompute recompute) {
        List<TinyRun.AdapterSetup> adapters = new ArrayList<>();
        for (int i = 0; i < setup.adapters; i++) {
            adapters.add(
                    new TinyRun.AdapterSetup(
                            "adapter" + i, 3 + i, 1.5f, setup.dropout, module -> true));
        }
        boolean mixed = setup.adapters > 1;
        try (TinyRun run =
                new TinyRun(backend, setup.config, setup.dtype, recompute, mixed, adapters)) {
            List<Integer> bits = new ArrayList<>();
            for (int step = 0; step < 3; step++) {
                TrainEngine.StepResult result =
                        run.step(batch(mixed, 10 * step), batch(mixed, 10 * step + 5));
                bits.add(Float.floatToRawIntBits((float) result.loss()));
                add(bits, result.gradNorms());
            }
            assertTrue(Double.isFinite(Float.intBitsToFloat(bits.getFirst())));
            run.gradients(batch(mixed, 99)).forEach(g -> add(bits, g));
            for (int i = 0; i < setup.adapters; i++) {
                run.values(i)
                        .modules()
                        .values()
                        .forEach(
                                pair -> {
                                    add(bits, pair.a());
                                    add(bits, pair.b());
                                });
            }
            return new Trace(bits, run.arenaBytes(), run.recomputedFlops());
        }
    }

    private static Batch batch(boolean mixed, int seed) {
        Batch batch =
                Batch.of(
                        List.of(
                                TinyRun.row(11, seed),
                                TinyRun.row(19, seed + 1),
                                TinyRun.row(7, seed + 2)));
        return mixed ? batch.withAdapters(new int[] {1, 0, -1}) : batch;
    }

    private static void add(List<Integer> bits, float[] values) {
        for (float value : values) {
            bits.add(Float.floatToRawIntBits(value));
        }
    }
}
